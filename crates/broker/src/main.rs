//! The `ottla` binary: arguments, environment, runtime. What it does with them is in the library.

use std::{process::ExitCode, sync::Arc};

use ottla_broker::{Server, cli, logging, open_files, scheduling, storage_tool};
use ottla_types::{Clock, SystemClock};
use rand::{SeedableRng, rngs::StdRng};
use tracing::{error, info, warn};

fn main() -> ExitCode {
    let environment: Vec<(String, String)> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    match cli::parse(std::env::args_os()) {
        Ok(cli::Cli::Serve(args)) => serve(&args, &environment),
        Ok(cli::Cli::Storage(command)) => {
            let outcome = storage_tool::run(&command, &environment, &mut StdRng::from_os_rng());
            cli::print(&outcome.out, &outcome.err, outcome.code)
        }
        Ok(cli::Cli::Help(text)) => answer(text),
        Ok(cli::Cli::Version) => answer(concat!("ottla ", env!("CARGO_PKG_VERSION"))),
        Err(error) => cli::print("", &format!("{error}\n"), cli::CliError::EXIT_CODE),
    }
}

/// Prints what was asked for.
fn answer(text: &str) -> ExitCode {
    cli::print(&format!("{text}\n"), "", 0)
}

/// Says why the process does not start.
fn refuse(problem: impl std::fmt::Display) -> ExitCode {
    cli::print("", &format!("{problem}\n"), 1)
}

fn serve(args: &cli::ServeArgs, environment: &[(String, String)]) -> ExitCode {
    let loaded = match cli::load_config(args.file.as_deref(), environment, &args.overrides) {
        Ok(loaded) => loaded,
        Err(problems) => return refuse(problems),
    };
    // Before anything is formatted: what cannot be served must leave no trace.
    if let Err(problems) = cli::check_protocols(&loaded) {
        return refuse(problems);
    }
    if args.check_config {
        return answer(&cli::check_config(&loaded));
    }
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    if let Err(problem) = logging::start(environment, clock.clone()) {
        return refuse(problem);
    }
    for warning in &loaded.warnings {
        warn!("{warning}");
    }
    open_files::raise_limit();
    let run = || -> anyhow::Result<()> {
        let cluster_id = environment.iter().find(|(name, _)| name == "CLUSTER_ID").map(|(_, id)| id.as_str());
        let (config, on_the_way) = (&loaded.broker, args.formats_on_the_way());
        let identity =
            storage_tool::ensure_formatted(config, on_the_way, cluster_id, &mut StdRng::from_os_rng());
        for dir in identity.map_err(anyhow::Error::msg)?.formatted {
            info!("Formatting metadata directory {dir}");
        }
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        runtime.enable_all().thread_name("ottla-worker");
        scheduling::by_load(&mut runtime, &clock);
        runtime.build()?.block_on(async {
            let stop = cli::stop()?;
            let mut stop = std::pin::pin!(stop);
            match Server::start(&loaded, clock, stop.as_mut()).await? {
                Some(server) => server.serve(stop).await,
                None => Ok(()),
            }
        })
    };
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            error!("Exiting Kafka due to fatal exception: {}", told(&problem));
            ExitCode::FAILURE
        }
    }
}

/// An error and its causes, those left out that the text before them has said already.
fn told(problem: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in problem.chain() {
        let cause = cause.to_string();
        if !text.contains(&cause) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&cause);
        }
    }
    text
}
