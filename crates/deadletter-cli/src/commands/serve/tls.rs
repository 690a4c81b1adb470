//! The certificate of `serve`: from two files, or signed by a local authority that is made on first
//! use, and what tells Python and Node to trust it.

use crate::{
    app::App,
    fault::{Fault, Result},
};
use deadletter::store::{
    Clock, SystemClock,
    draft::{Draft, Placed},
};
use deadletter_gateway::{Authority, Tls, TlsError};
use secrecy::{ExposeSecret, SecretString};
use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

/// Authority and key, readable by their owner alone.
const KEPT: &str = "authority.json";
/// The authority's certificate alone, for clients that trust it besides others.
const CERTIFICATE: &str = "authority.pem";
/// The same with all that this system trusts, for clients that trust one file and nothing else.
const BUNDLE: &str = "bundle.pem";
/// Where systems keep what they trust: Debian and Alpine; Fedora; openSUSE; the BSDs and macOS.
const SYSTEMS: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Options of `serve`.
#[derive(Debug, clap::Args)]
pub(super) struct TlsArgs {
    /// Speak https alone, with a certificate of an authority that is made for this machine on first
    /// use; says what makes clients trust it
    #[arg(long, value_name = "HOW", conflicts_with = "tls_cert")]
    tls: Option<How>,
    /// Speak https alone, with this certificate: PEM, the server's own first; read at the start
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The key of --tls-cert
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum How {
    /// An authority of this machine's own
    Local,
}

/// What clients are to be told.
#[derive(Debug)]
pub(super) struct Trust {
    /// The authority's certificate.
    pub(super) certificate: PathBuf,
    /// The same with all that this system trusts.
    pub(super) bundle: PathBuf,
}

impl Trust {
    /// The lines that make clients in Python and in Node trust the authority.
    pub(super) fn lines(&self) -> [String; 2] {
        let (bundle, certificate) = (quoted(&self.bundle), quoted(&self.certificate));
        [
            format!("export SSL_CERT_FILE={bundle} REQUESTS_CA_BUNDLE={bundle}"),
            format!("export NODE_EXTRA_CA_CERTS={certificate}"),
        ]
    }
}

impl TlsArgs {
    /// True where https is spoken.
    pub(super) const fn is_on(&self) -> bool {
        self.tls.is_some() || self.is_given()
    }

    /// True where the certificate is somebody else's.
    pub(super) const fn is_given(&self) -> bool {
        self.tls_cert.is_some()
    }

    /// How the port speaks TLS, and whom clients must trust for it; none where it speaks plain HTTP.
    pub(super) fn read(&self, app: &App, names: &[String]) -> Result<Option<(Tls, Option<Trust>)>> {
        if let (Some(chain), Some(key)) = (&self.tls_cert, &self.tls_key) {
            let key = SecretString::from(String::from_utf8_lossy(&content(key)?).into_owned());
            let tls = Tls::given(&content(chain)?, &key).map_err(unusable)?;
            return Ok(Some((tls, None)));
        }
        match self.tls {
            None => Ok(None),
            Some(How::Local) => {
                let folder = app.environment.data_dir().ok_or_else(nowhere)?.join("tls");
                let (authority, trust) = stand_in(&folder)?;
                let tls = Tls::local(authority, names.to_vec(), Arc::new(SystemClock));
                Ok(Some((tls.map_err(unusable)?, Some(trust))))
            }
        }
    }
}

fn content(path: &Path) -> Result<Vec<u8>> {
    let fault = |error| Fault::failed(format!("cannot read {}", path.display())).because(error);
    fs::read(path).map_err(|error| fault(error).fix("name a file that you can read"))
}

fn unusable(error: TlsError) -> Fault {
    let fix = match &error {
        TlsError::Certificate(_) => "--tls-cert names a file with BEGIN CERTIFICATE in it",
        TlsError::Key(_) => {
            "--tls-key names a file with BEGIN PRIVATE KEY in it, without a password"
        }
        TlsError::Unusable(_) => "the key of --tls-key must be the one of the first certificate",
        TlsError::Authority(_) => "--allow-host takes host names and addresses",
    };
    Fault::usage("no https can be spoken").because(error).fix(fix)
}

fn nowhere() -> Fault {
    Fault::failed("there is no place to keep the local authority").fix("set HOME or XDG_DATA_HOME")
}

/// The authority in `folder`: the one that stands there, or a new one.
fn stand_in(folder: &Path) -> Result<(Authority, Trust)> {
    let kept = folder.join(KEPT);
    let failed = |error: io::Error| {
        let what = format!("cannot keep the local authority in {}", folder.display());
        Fault::failed(what).because(error).fix("make it a folder that you can write to")
    };
    fs::create_dir_all(folder).map_err(failed)?;
    let authority = match standing(&kept)? {
        Some(authority) if !authority.is_ending(SystemClock.now()) => authority,
        ending => made(&kept, ending.is_some(), failed)?,
    };
    let trust = Trust { certificate: folder.join(CERTIFICATE), bundle: folder.join(BUNDLE) };
    write(&trust.certificate, authority.certificate()).map_err(failed)?;
    let system = SYSTEMS.iter().find_map(|path| fs::read_to_string(path).ok());
    let bundle = format!("{}\n{}", system.unwrap_or_default(), authority.certificate());
    write(&trust.bundle, &bundle).map_err(failed)?;
    Ok((authority, trust))
}

/// What stands there.
fn standing(kept: &Path) -> Result<Option<Authority>> {
    let shown = kept.display();
    let document = match fs::read_to_string(kept) {
        Ok(document) => SecretString::from(document),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Fault::failed(format!("cannot read {shown}")).because(error)),
    };
    refuse_open(kept)?;
    let authority = Authority::read(&document).map_err(|error| {
        Fault::failed("the local authority cannot be used")
            .because(error)
            .fix(format!("remove {shown}; clients must then trust the new authority"))
    })?;
    Ok(Some(authority))
}

/// A new authority in that place; or the one of another process that was faster.
fn made(kept: &Path, stands: bool, failed: impl Fn(io::Error) -> Fault) -> Result<Authority> {
    let authority = Authority::make(SystemClock.now())
        .map_err(|error| Fault::failed("no authority can be made").because(error))?;
    let (draft, mut file) = Draft::begin(kept).map_err(&failed)?;
    file.write_all(authority.document().expose_secret().as_bytes()).map_err(&failed)?;
    if stands {
        draft.replace(file).and_then(Placed::durable).map_err(failed)?;
        return Ok(authority);
    }
    match draft.put_in_place(file) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            standing(kept)?.ok_or_else(|| failed(error))
        }
        put => put.and_then(Placed::durable).map(|()| authority).map_err(failed),
    }
}

/// Who can read its key can be any site to whoever trusts it.
#[cfg(unix)]
fn refuse_open(kept: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let shown = kept.display();
    let mode = fs::metadata(kept).map(|facts| facts.permissions().mode()).unwrap_or(0);
    if mode & 0o077 == 0 {
        return Ok(());
    }
    Err(Fault::failed("the local authority must be readable by you alone")
        .why(format!("{shown} has mode {:03o}", mode & 0o777))
        .fix(format!("remove {shown}: who read it can pose as any https site to your clients")))
}

#[cfg(not(unix))]
fn refuse_open(_kept: &Path) -> Result<()> {
    Ok(())
}

/// Writes a file that holds no secret, whole; clients of other users read it too.
fn write(path: &Path, text: &str) -> io::Result<()> {
    if fs::read_to_string(path).is_ok_and(|standing| standing == text) {
        return Ok(());
    }
    let (draft, mut file) = Draft::begin(path)?;
    file.write_all(text.as_bytes())?;
    #[cfg(unix)]
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
    draft.replace(file)?.durable()
}

fn quoted(path: &Path) -> String {
    let path = path.display().to_string();
    shlex::try_quote(&path).map_or_else(|_| path.clone(), std::borrow::Cow::into_owned)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn an_authority_is_made_once_and_kept_for_its_owner_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = folder.path().join("a b").join("tls");
        let (first, trust) = stand_in(&at).expect("made");
        let (second, _) = stand_in(&at).expect("found");
        assert_eq!(first.certificate(), second.certificate());
        let read = |path: &Path| fs::read_to_string(path).expect("it stands");
        assert_eq!(read(&trust.certificate), first.certificate());
        assert!(read(&trust.bundle).ends_with(first.certificate()));
        assert!(!read(&trust.bundle).contains("PRIVATE KEY"));
        let kept = at.join(KEPT);
        let mode = |path: &Path| fs::metadata(path).expect("it stands").permissions().mode();
        assert_eq!(mode(&kept) & 0o777, 0o600);
        assert!(trust.lines()[1].contains("'"), "{:?}", trust.lines());
        fs::set_permissions(&kept, fs::Permissions::from_mode(0o640)).expect("ours");
        assert!(stand_in(&at).is_err(), "others could read it");
    }

    #[test]
    fn a_torn_authority_is_told_and_not_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        let kept = folder.path().join(KEPT);
        fs::write(&kept, "{").expect("ours");
        fs::set_permissions(&kept, fs::Permissions::from_mode(0o600)).expect("ours");
        let fault = stand_in(folder.path()).expect_err("torn");
        assert!(fault.fix.is_some_and(|fix| fix.contains("remove")));
        assert_eq!(fs::read_to_string(&kept).expect("it stands"), "{");
    }
}
