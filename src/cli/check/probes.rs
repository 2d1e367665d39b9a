//! The single checks: what is looked at, what is too little, and the advice.

use std::fs;
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::path::Path;
use std::time::Duration;

use super::Row;
use crate::cli::now;
use crate::config::{AccessConfig, PredictConfig, TlsConfig, WadoConfig};
use crate::edge::Guard;
use crate::event::dictionary::Profile;
use crate::http::access::Access;
use crate::http::dicomweb::Archive;
use crate::predict::Pipeline;

const MIB: u64 = 1 << 20;

/// No film is shown to the model that is tried here.
const FEATURE_CACHE_BYTES: usize = 1 << 20;

/// Less free disk than this and a run stops within hours.
const LEAST_DISK: u64 = 256 * MIB;

/// Less free disk than this is worth a word.
const LITTLE_DISK: u64 = 5 * 1024 * MIB;

/// The demo takes less than this; so should a machine have.
const LITTLE_MEMORY: u64 = 1024 * MIB;

/// How long a broker has to answer.
const BROKER_TIMEOUT: Duration = Duration::from_secs(2);

/// The model loads whole: each file is the one that the manifest names, and the weights fit.
pub fn model(predict: &PredictConfig, profile: Profile) -> Row {
    let dir = &predict.model;
    let pipeline = match Pipeline::open(dir, predict.device, FEATURE_CACHE_BYTES) {
        Ok(pipeline) => pipeline,
        Err(error) => {
            let advice = "make one with nowcxr train, or set predict.model to its directory";
            return Row::fail("model", error.to_string(), advice);
        }
    };
    let model = pipeline.model();
    let (name, digest) = (model.name(), model.digest().to_string());
    let short = digest.get(..12).unwrap_or_default();
    let found = format!("{} {} ({short}) in {}", name.name, name.version, dir.display());
    if model.about.profile != profile {
        let advice = "its input is not that of engine.profile; set that, or take another model";
        return Row::warn("model", found, advice);
    }
    Row::ok("model", found)
}

/// Whom the dashboard lets in.
pub fn visitors(address: SocketAddr, config: &AccessConfig) -> Row {
    let name = "http.tokens";
    match &config.tokens {
        Some(file) => match Access::tokens(file) {
            Ok(_) => Row::ok(name, format!("those of {} see the dashboard", file.display())),
            Err(error) => Row::fail(name, error.to_string(), "see nowcxr token --help"),
        },
        None if address.ip().is_loopback() => {
            Row::ok(name, "none: an open dashboard, for this machine only")
        }
        None => {
            let advice = "set http.tokens, or listen on a loopback address";
            Row::warn(name, "none, so there is no dashboard on this address", advice)
        }
    }
}

/// The edge's TLS: its files can be used, and its certificate has not expired.
pub fn certificate(tls: &TlsConfig) -> Row {
    let name = "edge.tls_certificate";
    match Guard::check(tls, now()) {
        Ok(()) => Row::ok(name, format!("{} can be used", tls.certificate.display())),
        Err(error) => {
            let advice = "name the PEM files of a certificate that holds, and of its key";
            Row::fail(name, error.to_string(), advice)
        }
    }
}

/// The archive answers, and lets us ask.
pub fn archive(wado: &WadoConfig) -> Row {
    let name = "edge.wado";
    let reached = Archive::open(wado).map_err(|error| error.to_string());
    match reached.and_then(|archive| archive.reach()) {
        Ok(()) => Row::ok(name, format!("{} answers", wado.base)),
        Err(why) => {
            let advice = "name the base of the archive's WADO-RS, and its token if it asks for one";
            Row::fail(name, format!("{}: {why}", wado.base), advice)
        }
    }
}

/// A file can be written in the directory, or where it would be made.
pub fn writable(name: &str, dir: &Path) -> Row {
    let place = existing(dir);
    let probe = place.join(format!(".nowcxr-check-{}", std::process::id()));
    let written = fs::File::create_new(&probe).and_then(|mut file| {
        file.write_all(b"nowcxr")?;
        file.sync_all()
    });
    let removed = if written.is_ok() { fs::remove_file(&probe) } else { Ok(()) };
    match written.and(removed) {
        Ok(()) => Row::ok(name, format!("{} can be written", dir.display())),
        Err(error) => {
            let found = format!("{} cannot be written: {error}", dir.display());
            Row::fail(name, found, "give this user the right to write there, or set another path")
        }
    }
}

/// Enough space is free.
pub fn disk(name: &str, dir: &Path) -> Row {
    let check = format!("{name} space");
    let free = match fs2::available_space(existing(dir)) {
        Ok(free) => free,
        Err(error) => {
            let found = format!("free space is unknown: {error}");
            return Row::warn(check, found, "look with df");
        }
    };
    let found = format!("{} MiB free", free / MIB);
    match free {
        0..LEAST_DISK => Row::fail(check, found, "free at least 256 MiB, or set another path"),
        LEAST_DISK..LITTLE_DISK => Row::warn(check, found, "a live ward wants 5 GiB or more"),
        _ => Row::ok(check, found),
    }
}

/// The nearest directory above that exists, or the path itself.
fn existing(dir: &Path) -> &Path {
    let here = Path::new(".");
    let named = dir.ancestors().find(|above| above.as_os_str().is_empty() || above.exists());
    named.filter(|above| !above.as_os_str().is_empty()).unwrap_or(here)
}

/// Nobody listens where we want to.
pub fn port(address: SocketAddr) -> Row {
    match TcpListener::bind(address) {
        Ok(_) => Row::ok("http.listen", format!("{address} is free")),
        Err(error) => {
            let found = format!("{address} cannot be used: {error}");
            Row::fail("http.listen", found, "stop what listens there, or set another address")
        }
    }
}

/// At least one broker accepts a connection.
pub fn brokers(brokers: &[String]) -> Row {
    let mut last = "no address".to_owned();
    for broker in brokers {
        let addresses = match broker.to_socket_addrs() {
            Ok(addresses) => addresses,
            Err(error) => {
                last = format!("{broker}: {error}");
                continue;
            }
        };
        for address in addresses {
            match TcpStream::connect_timeout(&address, BROKER_TIMEOUT) {
                Ok(_) => return Row::ok("kafka.brokers", format!("{broker} answers")),
                Err(error) => last = format!("{broker}: {error}"),
            }
        }
    }
    Row::fail("kafka.brokers", last, "start a broker, or set kafka.brokers to one that runs")
}

/// Cores, and the vector instructions that the model's arithmetic is fast with.
pub fn processor() -> Row {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let features = vector_features();
    let names: Vec<&str> = features.iter().filter(|(_, has)| *has).map(|(name, _)| *name).collect();
    let found = format!("{cores} cores, {}: {}", std::env::consts::ARCH, names.join(" "));
    match features.iter().any(|(name, has)| *name == "avx2" && !has) {
        true => Row::warn("processor", found, "without avx2 predictions take several times longer"),
        false => Row::ok("processor", found),
    }
}

#[cfg(target_arch = "x86_64")]
fn vector_features() -> Vec<(&'static str, bool)> {
    vec![
        ("avx2", std::arch::is_x86_feature_detected!("avx2")),
        ("fma", std::arch::is_x86_feature_detected!("fma")),
        ("avx512f", std::arch::is_x86_feature_detected!("avx512f")),
    ]
}

#[cfg(not(target_arch = "x86_64"))]
fn vector_features() -> Vec<(&'static str, bool)> {
    Vec::new()
}

/// Memory that may be taken, where Linux says so.
pub fn memory() -> Option<Row> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    let bytes = kib * 1024;
    let found = format!("{} MiB available", bytes / MIB);
    Some(match bytes < LITTLE_MEMORY {
        true => Row::warn("memory", found, "1 GiB is wanted; lower store.cache_bytes"),
        false => Row::ok("memory", found),
    })
}
