//! What befalls one exchange with the upstream, by chance.

use std::time::Duration;

use fastrand::Rng;

#[derive(Clone, Copy, Debug)]
pub(crate) enum Harm {
    None,
    /// The connection ends without an answer.
    Cut {
        applied: bool,
    },
    CutInTheAnswer,
    Hang {
        applied: bool,
    },
    /// It applies what nobody waits for any more.
    ApplyLate(Duration),
    ContinueThenCut {
        applied: bool,
    },
    /// 408, 409, 5xx: they say nothing about what was done.
    Failure {
        status: u16,
        applied: bool,
    },
    /// 421, 425, 429: nothing was done.
    NotNow {
        status: u16,
        retry_after: Option<u64>,
    },
    Redirect {
        applied: bool,
    },
    /// Refused as a whole: 401, 403, 404, 405, 415, and 400 about the campaign.
    Whole(u16),
    TooLarge(u16),
    /// A 4xx that nobody foresaw.
    Odd(u16),
    /// Applied, and answered with 2xx that cannot be believed.
    Lie(Lie),
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Lie {
    Truncated,
    NotJson,
    WrongLength,
    RepeatedId,
    EmptyId,
    OthersContacts,
    OverTheCap,
}

impl Harm {
    pub(crate) fn by_chance(rng: &mut Rng) -> Self {
        let applied = rng.bool();
        let pick = |rng: &mut Rng, of: &[u16]| *rng.choice(of).unwrap();
        match rng.u8(0..24) {
            0..=2 => Self::Cut { applied },
            3 => Self::CutInTheAnswer,
            4..=5 => Self::Hang { applied },
            6 => Self::ApplyLate(Duration::from_millis(rng.u64(500..4_000))),
            7 => Self::ContinueThenCut { applied },
            8..=10 => Self::Failure { status: pick(rng, &[408, 409, 500, 502, 503, 504, 520, 529]), applied },
            11..=13 => {
                let retry_after = rng.bool().then(|| rng.u64(0..3));
                Self::NotNow { status: pick(rng, &[421, 425, 429]), retry_after }
            }
            14 => Self::Redirect { applied },
            15..=17 => Self::Whole(pick(rng, &[400, 401, 403, 404, 405, 415])),
            18 => Self::TooLarge(pick(rng, &[413, 431])),
            19 => Self::Odd(pick(rng, &[402, 410, 418, 451])),
            _ => Self::Lie(
                *rng.choice(&[
                    Lie::Truncated,
                    Lie::NotJson,
                    Lie::WrongLength,
                    Lie::RepeatedId,
                    Lie::EmptyId,
                    // Of few batches can it be told: each item must name its contact.
                    Lie::OthersContacts,
                    Lie::OthersContacts,
                    Lie::OthersContacts,
                    Lie::OverTheCap,
                ])
                .unwrap(),
            ),
        }
    }
}
