//! `blubash-grpc access`: what goes into the access file.

use clap::Subcommand;

use super::{print::print, say};
use crate::access::{TokenDigest, new_token};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print a fresh bearer token for a caller, and its line for the access file on stderr
    NewToken,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    match args.command {
        Command::NewToken => {
            let token = new_token();
            print(&format!("{token}\n"))?;
            say(&format!(
                "the caller sends the token as \"authorization: Bearer TOKEN\"; the access file holds its digest:\n\
                 token_sha256 = [\"{}\"]",
                TokenDigest::of(token.as_bytes()).to_hex()
            ));
            Ok(())
        }
    }
}
