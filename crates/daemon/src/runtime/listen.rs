//! Where clients connect: TCP and Unix sockets.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::net::{Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use antiphon_proto::Origin;
use mio::net::{TcpListener, TcpStream, UnixListener};
use mio::{Interest, Registry, Token as PollToken};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::socket_acceptconn;
use rustix::process::geteuid;
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, TcpKeepalive, Type};

use super::stream::Stream;
use crate::StartError;
use crate::conf::{PortReuse, Settings, has_directory};
use crate::status::SOCKET_SUFFIX;

/// Size of a TCP client's buffers in the system, each way: what waits there only makes messages late.
const CLIENT_BUFFER_BYTES: usize = 128 << 10;
/// A TCP client from which nothing came for so long is probed: its host may have vanished.
const PROBE_AFTER: Duration = Duration::from_secs(10);
/// The time from one probe to the next.
const PROBE_INTERVAL: Duration = Duration::from_secs(5);
/// A host that does not answer so many probes has vanished.
const PROBES: u32 = 3;
/// Room for a path in the address of a Unix socket, without the NUL behind it.
const PATH_MAX_BYTES: usize = 107;
/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1024;

/// One listening socket.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: Listening,
    /// Whether connections may be waiting.
    pub(crate) ready: bool,
}

#[derive(Debug)]
enum Listening {
    Tcp(TcpListener),
    Unix(UnixListener, SocketFile),
}

impl Listener {
    /// Opens everything that the settings ask for.
    pub(crate) fn open_all(settings: &Settings) -> Result<Vec<Self>, StartError> {
        let port = settings.here.port;
        let tcp = settings.client_interfaces.iter().map(|ip| {
            Self::tcp(SocketAddr::new(*ip, port), settings.takes_ipv4_at(*ip), settings.port_reuse)
        });
        let unix = settings.unix_sockets().map(|path| Self::unix(&path, 0o666));
        tcp.chain(unix).collect()
    }

    pub(super) fn tcp(address: SocketAddr, with_ipv4: bool, reuse: PortReuse) -> Result<Self, StartError> {
        let listener = listen_tcp(address, with_ipv4, reuse)
            .map_err(|error| StartError::socket("TCP", address, error))?;
        Ok(Self { socket: Listening::Tcp(listener), ready: true })
    }

    /// A Unix socket that only the user of this process can open.
    pub(crate) fn private_unix(path: &Path) -> Result<Self, StartError> {
        Self::unix(path, 0o600)
    }

    fn unix(path: &Path, mode: u32) -> Result<Self, StartError> {
        check_length(path)?;
        clear_stale(path)?;
        let failed = |error| StartError::Unix { path: path.to_path_buf(), error };
        let (socket, file) = bind_unix(path, mode).map_err(failed)?;
        let listener = listen_unix(socket).map_err(failed)?;
        Ok(Self { socket: Listening::Unix(listener, file), ready: true })
    }

    /// Makes a Unix socket again whose file was removed, as nobody finds it any more, and adds it to the poller in place
    /// of the lost one. Returns its path if that was needed.
    pub(crate) fn restore(
        &mut self,
        registry: &Registry,
        token: PollToken,
    ) -> Result<Option<&Path>, StartError> {
        match &self.socket {
            Listening::Unix(_, file) if !file.is_there() => {
                let mut again = Self::unix(&file.path, file.mode)?;
                again.register(registry, token)?;
                *self = again;
                Ok(self.unix_path())
            }
            Listening::Tcp(_) | Listening::Unix(..) => Ok(None),
        }
    }

    /// Adds the socket to the poller.
    pub(crate) fn register(&mut self, registry: &Registry, token: PollToken) -> io::Result<()> {
        match &mut self.socket {
            Listening::Tcp(listener) => registry.register(listener, token, Interest::READABLE),
            Listening::Unix(listener, _) => registry.register(listener, token, Interest::READABLE),
        }
    }

    /// The next waiting connection. A client of IPv4 is told by its address there, wherever it was accepted.
    pub(crate) fn accept(&self) -> io::Result<(Stream, Origin)> {
        match &self.socket {
            Listening::Tcp(listener) => {
                let (stream, address) = listener.accept()?;
                prepare_tcp(&stream)?;
                Ok((Stream::Tcp(stream), Origin::Tcp(address.ip().to_canonical())))
            }
            Listening::Unix(listener, _) => {
                let (stream, _) = listener.accept()?;
                Ok((Stream::Unix(stream), Origin::Unix))
            }
        }
    }

    /// Whether somebody waits to be accepted.
    pub(crate) fn is_awaited(&self) -> bool {
        // A socket that cannot be asked is for `accept` to complain about.
        poll(&mut [PollFd::new(self, PollFlags::IN)], Some(&Timespec::default()))
            .map_or(true, |ready| ready > 0)
    }

    /// Whether the socket still takes connections.
    pub(crate) fn listens(&self) -> bool {
        socket_acceptconn(self).unwrap_or(true)
    }

    /// The TCP address, if it is TCP.
    pub(crate) fn tcp_address(&self) -> Option<SocketAddr> {
        match &self.socket {
            Listening::Tcp(listener) => listener.local_addr().ok(),
            Listening::Unix(..) => None,
        }
    }

    /// The path, if it is a Unix socket.
    pub(crate) fn unix_path(&self) -> Option<&Path> {
        match &self.socket {
            Listening::Tcp(_) => None,
            Listening::Unix(_, file) => Some(&file.path),
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.socket {
            Listening::Tcp(listener) => listener.as_fd(),
            Listening::Unix(listener, _) => listener.as_fd(),
        }
    }
}

/// What keeps the Unix sockets of clients from being made, as far as it can be told without making them.
pub(crate) fn check(settings: &Settings) -> Result<(), StartError> {
    settings.unix_sockets().try_for_each(|path| {
        check_length(&path)?;
        has_directory(&path).map_err(|error| StartError::Unix { path, error })
    })
}

fn prepare_tcp(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let probing =
        TcpKeepalive::new().with_time(PROBE_AFTER).with_interval(PROBE_INTERVAL).with_retries(PROBES);
    SockRef::from(stream).set_tcp_keepalive(&probing)
}

fn listen_tcp(address: SocketAddr, with_ipv4: bool, reuse: PortReuse) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(reuse != PortReuse::Off)?;
    if address.ip() == Ipv6Addr::UNSPECIFIED {
        // Left to itself the system does as `net.ipv6.bindv6only` says.
        socket.set_only_v6(!with_ipv4)?;
    }
    // Accepted connections inherit these. Left to itself the system lets them grow to megabytes.
    socket.set_recv_buffer_size(CLIENT_BUFFER_BYTES)?;
    socket.set_send_buffer_size(CLIENT_BUFFER_BYTES)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(TcpListener::from_std(socket.into()))
}

/// Binds a Unix socket and gives its file that mode. Nobody can connect before it listens, so nobody gets in before the
/// mode keeps them out.
fn bind_unix(path: &Path, mode: u32) -> io::Result<(Socket, SocketFile)> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    let file = SocketFile::new(path, mode)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    Ok((socket, file))
}

fn listen_unix(socket: Socket) -> io::Result<UnixListener> {
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(UnixListener::from_std(socket.into()))
}

/// Whether the address of a socket has room for a path. The error tells how long a directory may be for both sockets
/// of a daemon, of which that for the status has the longer name.
pub(crate) fn check_length(path: &Path) -> Result<(), StartError> {
    if path.as_os_str().len() <= PATH_MAX_BYTES {
        return Ok(());
    }
    let name_bytes = path.file_stem().map_or(0, OsStr::len) + SOCKET_SUFFIX.len();
    let directory_max_bytes = PATH_MAX_BYTES.saturating_sub("/".len() + name_bytes);
    Err(StartError::UnixTooLong { path: path.to_path_buf(), directory_max_bytes })
}

/// Removes what a crashed daemon left behind, but nothing at which somebody listens or that is no socket.
fn clear_stale(path: &Path) -> Result<(), StartError> {
    let failed = |error| StartError::Unix { path: path.to_path_buf(), error };
    let there = match fs::symlink_metadata(path) {
        Ok(there) => there,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    if !there.file_type().is_socket() {
        let kind = io::ErrorKind::AlreadyExists;
        return Err(failed(io::Error::new(kind, "a file that is not a socket has that name")));
    }
    let is_foreign = there.uid() != geteuid().as_raw();
    let refused = |error: io::Error| match error.kind() {
        io::ErrorKind::PermissionDenied if is_foreign => {
            StartError::UnixForeign { path: path.to_path_buf(), error }
        }
        _ => failed(error),
    };
    match connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(refused)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Ok(()) => Err(StartError::UnixInUse(path.to_path_buf())),
        // The queue of who listens there is full.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            Err(StartError::UnixInUse(path.to_path_buf()))
        }
        Err(error) => Err(refused(error)),
    }
}

/// Tries whether somebody listens, without waiting for one who accepts nobody, as a daemon that is stopped.
fn connect(path: &Path) -> io::Result<()> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.connect(&SockAddr::unix(path)?)
}

/// The file of a Unix socket; removed in the end, unless another one lies there by then.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    mode: u32,
    identity: (u64, u64),
}

impl SocketFile {
    fn new(path: &Path, mode: u32) -> io::Result<Self> {
        Ok(Self { path: path.to_path_buf(), mode, identity: identity(path)? })
    }

    /// Whether its path still leads to it. No other file has its identity as long as the socket is open.
    fn is_there(&self) -> bool {
        identity(&self.path).is_ok_and(|identity| identity == self.identity)
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.is_there()
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!("cannot remove {}: {error}", self.path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::Ipv4Addr;

    use super::*;

    /// A directory that goes away with its value.
    struct Directory(PathBuf);

    impl Directory {
        fn new() -> Self {
            let name = format!("antiphon-{}-{}", std::process::id(), fastrand::u64(..));
            let path = std::env::temp_dir().join(name);
            fs::create_dir(&path).expect("a new directory");
            Self(path)
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_stale_socket_is_replaced_and_removed_in_the_end() {
        let directory = Directory::new();
        let path = directory.0.join("4803");
        drop(std::os::unix::net::UnixListener::bind(&path).expect("a socket"));
        assert!(path.exists(), "dropping a listener leaves its file");
        let listener = Listener::unix(&path, 0o666).expect("the stale file is replaced");
        let mode = fs::metadata(&path).expect("it exists").permissions().mode();
        assert_eq!(mode & 0o777, 0o666);
        drop(listener);
        assert!(!path.exists());
    }

    #[test]
    fn nobody_can_connect_to_a_socket_before_its_mode_is_set() {
        let directory = Directory::new();
        let path = directory.0.join("4803.status");
        let (socket, _file) = bind_unix(&path, 0o600).expect("a socket");
        let mode = fs::metadata(&path).expect("it exists").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let refused = connect(&path).expect_err("nobody listens");
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        let _listener = listen_unix(socket).expect("a bound socket");
        connect(&path).expect("it listens");
    }

    #[test]
    fn a_live_socket_and_other_files_are_left_alone() {
        let directory = Directory::new();
        let live = directory.0.join("4803");
        let _listener = std::os::unix::net::UnixListener::bind(&live).expect("a socket");
        let error = Listener::unix(&live, 0o666).expect_err("in use");
        assert!(matches!(error, StartError::UnixInUse(_)));
        assert!(error.to_string().ends_with("name one with UnixSocketDirectory or --unix-dir"), "{error}");
        let plain = directory.0.join("4804");
        fs::write(&plain, b"precious").expect("writable");
        let error = Listener::unix(&plain, 0o666).expect_err("a file").to_string();
        assert!(error.contains("not a socket has that name; remove the file"), "{error}");
        assert!(plain.exists());
    }

    #[test]
    fn a_socket_whose_queue_is_full_is_in_use() {
        let directory = Directory::new();
        let path = directory.0.join("4803");
        let listener = std::os::unix::net::UnixListener::bind(&path).expect("a socket");
        rustix::net::listen(&listener, 0).expect("a queue of one");
        let _in_the_way = std::os::unix::net::UnixStream::connect(&path).expect("the first fits");
        assert!(matches!(Listener::unix(&path, 0o666), Err(StartError::UnixInUse(_))));
    }

    #[test]
    fn a_listener_is_awaited_by_who_was_not_accepted() {
        let directory = Directory::new();
        let path = directory.0.join("4803");
        let listener = Listener::unix(&path, 0o666).expect("a socket");
        assert!(!listener.is_awaited());
        let _client = std::os::unix::net::UnixStream::connect(&path).expect("it listens");
        assert!(listener.is_awaited());
        let _accepted = listener.accept().expect("a client waits");
        assert!(!listener.is_awaited());
    }

    #[test]
    fn a_missing_directory_is_told_with_what_to_do() {
        let directory = Directory::new();
        let path = directory.0.join("missing").join("4803");
        let error = Listener::unix(&path, 0o666).expect_err("no directory").to_string();
        assert!(error.contains("expected a directory"), "{error}");
        assert!(error.ends_with("UnixSocketDirectory or --unix-dir"), "{error}");
    }

    #[test]
    fn a_directory_may_be_as_long_as_its_sockets_have_room_for() {
        let directory = Directory::new();
        let base = directory.0.as_os_str().len() + 1;
        let socket = |directory_bytes: usize| {
            let long = directory.0.join("d".repeat(directory_bytes - base));
            fs::create_dir(&long).expect("a new directory");
            Listener::unix(&long.join("4803"), 0o666)
        };
        assert!(socket(102).is_ok());
        let error = socket(103).expect_err("too long").to_string();
        assert!(error.contains("a directory of at most 95 bytes"), "so that the status fits too: {error}");
        assert!(error.ends_with("UnixSocketDirectory or --unix-dir"), "{error}");
        let path = |bytes: usize| Path::new("/").join("d".repeat(bytes - 1)).join("25000.status");
        assert!(check_length(&path(94)).is_ok());
        let error = check_length(&path(95)).expect_err("too long").to_string();
        assert!(error.contains("a directory of at most 94 bytes"), "{error}");
    }

    #[test]
    fn an_address_of_another_machine_is_told_with_what_to_do() {
        let elsewhere = (Ipv4Addr::new(192, 0, 2, 1), 4803).into();
        let error = Listener::tcp(elsewhere, false, PortReuse::Auto).expect_err("documentation").to_string();
        assert!(error.contains("expected an address of this machine"), "{error}");
        assert!(error.ends_with("with -n"), "{error}");
    }

    #[test]
    fn a_client_of_ipv4_keeps_its_address_where_ipv6_is_listened_on() {
        let Ok(listener) = Listener::tcp((Ipv6Addr::UNSPECIFIED, 0).into(), true, PortReuse::Auto) else {
            // What is printed with `eprintln!` is only seen of tests that fail.
            let name = "a_client_of_ipv4_keeps_its_address_where_ipv6_is_listened_on";
            let _ = writeln!(io::stderr(), "skipped {name}: this machine has no IPv6");
            return;
        };
        let port = listener.tcp_address().expect("bound").port();
        let client = std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("it listens");
        let (_stream, origin) = listener.accept().expect("a client waits");
        assert_eq!(origin, Origin::Tcp(client.local_addr().expect("connected").ip()));
    }

    #[test]
    fn a_clients_host_that_vanishes_is_noticed_within_half_a_minute() {
        let listener =
            Listener::tcp((Ipv4Addr::LOCALHOST, 0).into(), false, PortReuse::Auto).expect("a free port");
        let address = listener.tcp_address().expect("bound");
        let _client = std::net::TcpStream::connect(address).expect("connected");
        let (Stream::Tcp(stream), _) = listener.accept().expect("a client") else { panic!("not TCP") };
        let socket = SockRef::from(&stream);
        assert!(socket.keepalive().expect("told"));
        let (after, interval) = (socket.tcp_keepalive_time(), socket.tcp_keepalive_interval());
        let probes = socket.tcp_keepalive_retries().expect("told");
        assert!(after.expect("told") + interval.expect("told") * probes <= Duration::from_secs(30));
    }

    #[test]
    fn a_tcp_port_in_use_is_named() {
        let first = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = first.local_addr().expect("bound");
        let error = Listener::tcp(address, false, PortReuse::Auto).expect_err("in use").to_string();
        let what = format!("TCP {address} is in use; is another daemon running?");
        assert!(
            error.starts_with(&what) && error.contains("`name address { D address C address }`"),
            "{error}"
        );
    }
}
