//! What the drivers share: the contract, the service under test as a process, a clock, and how a run ends.

pub mod service;

pub mod pb {
    //! The contract.
    #![allow(clippy::doc_markdown)]
    tonic::include_proto!("blubash.campaigns.v1");
}

use std::{error::Error, process::ExitCode, sync::LazyLock};

use tokio::{
    signal::unix::{SignalKind, signal},
    time::Instant,
};

/// Why a measurement could not be made.
pub type Fault = Box<dyn Error + Send + Sync>;

/// Runs a measurement to its end, or until a signal: whatever ends it drops the service, and with it its process.
pub async fn end(run: impl Future<Output = Result<bool, Fault>>) -> ExitCode {
    let outcome = tokio::select! {
        outcome = run => outcome,
        fault = signalled() => Err(fault),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(fault) => {
            eprintln!("FAILED: {fault}");
            ExitCode::FAILURE
        }
    }
}

async fn signalled() -> Fault {
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return "no signals can be heard".into();
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    "interrupted".into()
}

/// Microseconds since the driver first asked: the one clock of all that is compared.
pub fn micros() -> u64 {
    static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);
    u64::try_from(BEGAN.elapsed().as_micros()).unwrap_or(u64::MAX)
}
