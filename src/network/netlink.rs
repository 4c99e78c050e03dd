//! The two rtnetlink requests the driver makes itself: `lo` up, and a link removed by name.
//!
//! Written by hand (64 bytes each) because an exec of the `loopback` plugin costs 20 ms and a netlink crate more than this file.
//! Everything else about links is the CNI plugins' business.

use std::io;
use std::os::fd::AsRawFd;

use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket};

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const NLMSG_ERROR: u16 = 2;
/// NLM_F_REQUEST | NLM_F_ACK.
const REQUEST_ACK: u16 = 1 | 4;
const IFF_UP: u32 = 1;
const IFLA_IFNAME: u16 = 3;
/// `lo` is the first link of every network namespace.
const LOOPBACK_INDEX: i32 = 1;

/// Brings `lo` up in the calling thread's network namespace.
pub(super) fn loopback_up() -> io::Result<()> {
    request(&message(RTM_NEWLINK, LOOPBACK_INDEX, IFF_UP, None))
}

/// Removes a link of the calling thread's network namespace; absent is no error.
pub(super) fn delete_link(name: &str) -> io::Result<()> {
    match request(&message(RTM_DELLINK, 0, 0, Some(name))) {
        Err(e) if e.raw_os_error() == Some(nix::errno::Errno::ENODEV as i32) => Ok(()),
        other => other,
    }
}

/// nlmsghdr + ifinfomsg + an optional IFLA_IFNAME attribute, in host byte order as rtnetlink(7) has it.
fn message(kind: u16, index: i32, flags: u32, name: Option<&str>) -> Vec<u8> {
    let mut body = Vec::with_capacity(48);
    body.extend([0_u8; 4]); // family AF_UNSPEC, padding, device type 0
    body.extend(index.to_ne_bytes());
    body.extend(flags.to_ne_bytes());
    body.extend(flags.to_ne_bytes()); // the mask of flags to change
    if let Some(name) = name {
        let length = u16::try_from(4 + name.len() + 1).unwrap_or(u16::MAX);
        body.extend(length.to_ne_bytes());
        body.extend(IFLA_IFNAME.to_ne_bytes());
        body.extend(name.as_bytes());
        body.push(0);
        body.resize(body.len().next_multiple_of(4), 0);
    }
    let mut message = Vec::with_capacity(16 + body.len());
    message.extend(u32::try_from(16 + body.len()).unwrap_or(u32::MAX).to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(REQUEST_ACK.to_ne_bytes());
    message.extend(1_u32.to_ne_bytes()); // sequence
    message.extend(0_u32.to_ne_bytes()); // port: the kernel's
    message.extend(body);
    message
}

fn request(message: &[u8]) -> io::Result<()> {
    let fd = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkRoute)?;
    send(fd.as_raw_fd(), message, MsgFlags::empty())?;
    let mut answer = [0_u8; 1024];
    let length = recv(fd.as_raw_fd(), &mut answer, MsgFlags::empty())?;
    acknowledged(&answer[..length])
}

/// Reads an NLMSG_ERROR: error 0 is the acknowledgement.
fn acknowledged(answer: &[u8]) -> io::Result<()> {
    let kind = answer.get(4..6).and_then(|b| b.try_into().ok()).map(u16::from_ne_bytes);
    let error = answer.get(16..20).and_then(|b| b.try_into().ok()).map(i32::from_ne_bytes);
    match (kind, error) {
        (Some(NLMSG_ERROR), Some(0)) => Ok(()),
        (Some(NLMSG_ERROR), Some(errno)) => Err(io::Error::from_raw_os_error(-errno)),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "rtnetlink answered with no acknowledgement")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_state_their_length_and_pad_the_name() {
        let m = message(RTM_DELLINK, 0, 0, Some("mk8s0"));
        assert_eq!(m.len() % 4, 0);
        assert_eq!(u32::from_ne_bytes(m[0..4].try_into().unwrap()) as usize, m.len());
        assert_eq!(&m[36..41], b"mk8s0");
        assert_eq!(u16::from_ne_bytes(m[32..34].try_into().unwrap()), 10);
    }

    #[test]
    fn answers_that_are_no_acknowledgement_are_errors() {
        assert!(acknowledged(&[]).is_err());
        let mut m = message(NLMSG_ERROR, 0, 0, None);
        assert!(acknowledged(&m).is_ok());
        m[16..20].copy_from_slice(&(-19_i32).to_ne_bytes());
        assert_eq!(acknowledged(&m).unwrap_err().raw_os_error(), Some(19));
    }
}
