//! The upstream: it messages whom it means to, remembers them, and does to each exchange what the test says.

use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use crate::{
    support::{
        truth::Truth,
        wire::{Wire, response, response_of_length},
    },
    wire::{added, persons},
};

/// What befalls one exchange.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    None,
    /// The connection ends here.
    Cut(Point, Ending),
    /// An answer with this status, after messaging everyone or no one.
    Status {
        status: u16,
        applied: bool,
    },
    /// A redirect to the other listener, which must never hear of it.
    Redirect(u16),
    /// No answer at all.
    Hang {
        applied: bool,
    },
    /// Everyone is messaged, and the answer comes byte by byte.
    Drip(Duration),
    /// `100 Continue`, and then the connection's end.
    ContinueThenClose {
        applied: bool,
    },
    /// Interim answers, then the true one.
    InterimThenAnswer,
    /// Not HTTP.
    Gibberish {
        applied: bool,
    },
    /// Everyone is messaged, and the answer is not what it says it is.
    Lie(Lie),
    /// The true answer, and after this pause another one, on a connection that waits for its next request.
    Stray(Goodbye, Duration),
}

/// What comes when nobody asked.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Goodbye {
    /// The same answer once more.
    Echo,
    /// That messages were made, which nobody made.
    Added,
    /// That nothing was done: whoever believed it would send again.
    TooMany,
}

/// Where a connection ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Point {
    BeforeReading,
    WhileReading,
    BeforeApplying,
    AfterApplying,
    InTheAnswersHead,
    InTheAnswersBody,
}

/// How a connection ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ending {
    Reset,
    Close,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Lie {
    LengthTooLong,
    LengthTooShort,
    LengthGarbage,
    TwoLengths,
    BrokenChunk,
    ChunksWithoutEnd,
    OverTheCap,
    OverTheCapInChunks,
    NotJson,
    OneTooFew,
    OneTooMany,
    NoItems,
    RepeatedIds,
    EmptyIds,
}

pub(crate) struct Upstream {
    addr: SocketAddr,
    pub(crate) state: State,
    _tasks: JoinSet<()>,
}

/// What the connections share.
#[derive(Clone)]
pub(crate) struct State {
    pub(crate) truth: Truth,
    /// What befalls the next exchanges; none when it is empty.
    faults: Arc<Mutex<VecDeque<Fault>>>,
    exchanges: Arc<AtomicUsize>,
    connections: Arc<AtomicUsize>,
    elsewhere: SocketAddr,
    strangers: Arc<AtomicUsize>,
}

impl Upstream {
    pub(crate) async fn start(faults: impl IntoIterator<Item = Fault>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let elsewhere = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let state = State {
            truth: Truth::default(),
            faults: Arc::new(Mutex::new(faults.into_iter().collect())),
            exchanges: Arc::default(),
            connections: Arc::default(),
            elsewhere: elsewhere.local_addr().unwrap(),
            strangers: Arc::default(),
        };
        let addr = listener.local_addr().unwrap();
        let (mut tasks, shared, strangers) = (JoinSet::new(), state.clone(), Arc::clone(&state.strangers));
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                shared.connections.fetch_add(1, Ordering::SeqCst);
                connections.spawn(serve(shared.clone(), socket));
            }
        });
        tasks.spawn(async move {
            while elsewhere.accept().await.is_ok() {
                strangers.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self { addr, state, _tasks: tasks }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/api/v1/campaigns", self.addr)
    }

    /// From now on nothing befalls an exchange.
    pub(crate) fn mend(&self) {
        self.state.faults.lock().unwrap().clear();
    }

    /// How many exchanges began.
    pub(crate) fn exchanges(&self) -> usize {
        self.state.exchanges.load(Ordering::SeqCst)
    }

    /// How many connections were made.
    pub(crate) fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// How many connections reached the host that a redirect named.
    pub(crate) fn led_astray(&self) -> usize {
        self.state.strangers.load(Ordering::SeqCst)
    }
}

async fn serve(state: State, socket: TcpStream) {
    let mut wire = Wire::new(socket);
    while wire.request_begins().await {
        state.exchanges.fetch_add(1, Ordering::SeqCst);
        let fault = state.faults.lock().unwrap().pop_front().unwrap_or(Fault::None);
        match exchange(&state, fault, wire).await {
            Ok(Some(open)) => wire = open,
            Ok(None) | Err(_) => return,
        }
    }
}

/// One exchange. What comes back is the connection, where it is still of use.
async fn exchange(
    state: &State,
    fault: Fault,
    mut wire: Wire<TcpStream>,
) -> io::Result<Option<Wire<TcpStream>>> {
    match fault {
        Fault::Cut(Point::BeforeReading, ending) => return Ok(end(wire, ending).await),
        Fault::Cut(Point::WhileReading, ending) => {
            wire.read_a_part().await?;
            return Ok(end(wire, ending).await);
        }
        _ => {}
    }
    let request = wire.read().await?;
    assert_eq!(request.header("x-api-key"), "the-key");
    let persons = persons(&request);
    let message_all = || persons.iter().map(|person| state.truth.message(person)).collect::<Vec<_>>();
    let message_if = |applied: bool| {
        if applied {
            message_all();
        }
    };
    match fault {
        Fault::Cut(Point::BeforeApplying, ending) => return Ok(end(wire, ending).await),
        Fault::Cut(Point::AfterApplying, ending) => {
            message_all();
            return Ok(end(wire, ending).await);
        }
        Fault::Cut(point, ending) => {
            let answer = response(201, "", &added(&message_all()));
            let part = if matches!(point, Point::InTheAnswersHead) { 20 } else { answer.len() - 20 };
            wire.write(&answer[..part]).await;
            return Ok(end(wire, ending).await);
        }
        Fault::Status { status, applied } => {
            message_if(applied);
            wire.write(&response(status, "", r#"{"message":"so it is"}"#)).await;
        }
        Fault::Redirect(status) => {
            let location = format!("location: http://{}/stolen\r\n", state.elsewhere);
            wire.write(&response(status, &location, "")).await;
        }
        Fault::Hang { applied } => {
            message_if(applied);
            wire.hang().await;
            return Ok(None);
        }
        Fault::Drip(pause) => {
            let answer = response(201, "", &added(&message_all()));
            wire.drip(&answer, pause).await;
        }
        Fault::ContinueThenClose { applied } => {
            message_if(applied);
            wire.write(b"HTTP/1.1 100 Continue\r\n\r\n").await;
            return Ok(end(wire, Ending::Close).await);
        }
        Fault::InterimThenAnswer => {
            wire.write(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n").await;
            wire.write(&response(201, "", &added(&message_all()))).await;
        }
        Fault::Gibberish { applied } => {
            message_if(applied);
            wire.write(b"SSH-2.0-OpenSSH_9.9\r\n").await;
            return Ok(end(wire, Ending::Close).await);
        }
        Fault::Lie(lie) => return Ok(tell(lie, wire, &message_all()).await),
        Fault::None => wire.write(&response(201, "", &added(&message_all()))).await,
        Fault::Stray(goodbye, pause) => {
            let mut answer = response(201, "", &added(&message_all()));
            let stray = stray(goodbye, &answer, &persons);
            if pause.is_zero() {
                answer.extend(stray);
                wire.write(&answer).await;
            } else {
                wire.write(&answer).await;
                let written = Instant::now();
                // The runtime's timer is coarser than the gap between two requests.
                while written.elapsed() < pause {
                    std::hint::spin_loop();
                }
                wire.write(&stray).await;
            }
        }
    }
    Ok(Some(wire))
}

fn stray(goodbye: Goodbye, answer: &[u8], persons: &[String]) -> Vec<u8> {
    match goodbye {
        Goodbye::Echo => answer.to_vec(),
        Goodbye::Added => {
            let ids: Vec<_> = persons.iter().map(|person| format!("stray-{person}")).collect();
            response(201, "", &added(&ids))
        }
        Goodbye::TooMany => response(429, "", ""),
    }
}

async fn end(wire: Wire<TcpStream>, ending: Ending) -> Option<Wire<TcpStream>> {
    match ending {
        Ending::Reset => wire.reset(),
        Ending::Close => wire.close().await,
    }
    None
}

async fn tell(lie: Lie, mut wire: Wire<TcpStream>, ids: &[String]) -> Option<Wire<TcpStream>> {
    let (body, chunked) = (added(ids), "HTTP/1.1 201 Created\r\ntransfer-encoding: chunked\r\n\r\n");
    let of_ids = |ids: &[String]| response(201, "", &added(ids));
    let claims = |length: &str| response_of_length(201, "", length, &body);
    let chunk = format!("{chunked}{:x}\r\n{body}\r\n", body.len());
    let answer = match lie {
        Lie::LengthTooLong => claims(&(body.len() + 7).to_string()),
        Lie::LengthTooShort => claims(&(body.len() - 7).to_string()),
        Lie::LengthGarbage => claims("many"),
        Lie::TwoLengths => claims(&format!("{}\r\ncontent-length: {}", body.len(), body.len() - 1)),
        Lie::BrokenChunk => format!("{chunk}zz\r\n").into_bytes(),
        Lie::ChunksWithoutEnd => chunk.into_bytes(),
        Lie::OverTheCap => claims("999999999999"),
        Lie::OverTheCapInChunks => {
            let mut answer = chunk.into_bytes();
            let blank = format!("100000\r\n{}\r\n", " ".repeat(1 << 20));
            (0..5).for_each(|_| answer.extend(blank.bytes()));
            answer.extend(b"0\r\n\r\n");
            answer
        }
        Lie::NotJson => response(201, "", "Created."),
        Lie::OneTooFew => of_ids(&ids[1..]),
        Lie::OneTooMany => of_ids(&[ids, &["message-of-nobody".to_owned()]].concat()),
        Lie::NoItems => response(201, "", "{}"),
        Lie::RepeatedIds => of_ids(&vec![ids[0].clone(); ids.len()]),
        Lie::EmptyIds => of_ids(&vec![String::new(); ids.len()]),
    };
    wire.write(&answer).await;
    if matches!(lie, Lie::ChunksWithoutEnd) {
        return end(wire, Ending::Close).await;
    }
    Some(wire)
}
