//! Is the container runtime there? Judged as the kubelet judges it: by when it last answered (pkg/kubelet/runtime.go runtimeErrors). Pure.

use std::time::Duration;

use tokio::time::Instant;

/// After so long without an answer it is down (pkg/kubelet/kubelet.go maxWaitForContainerRuntime). A restart of it takes less.
pub const SILENCE: Duration = Duration::from_secs(30);

/// What is known of the container runtime.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Presence {
    /// It has not answered since the agent started.
    #[default]
    Awaited,
    /// It answers; its name and version, such as `containerd://1.6.20`.
    Up(String),
    /// It answered once, and not for [`SILENCE`].
    Down,
}

impl Presence {
    /// Its name and version, "" unless it is up.
    pub fn version(&self) -> &str {
        match self {
            Presence::Up(version) => version,
            Presence::Awaited | Presence::Down => "",
        }
    }

    /// Why it is not there, in the kubelet's words; `None`: it is.
    pub fn fault(&self) -> Option<&'static str> {
        match self {
            Presence::Awaited => Some("container runtime status check may not have completed yet"),
            Presence::Up(_) => None,
            Presence::Down => Some("container runtime is down"),
        }
    }
}

/// The last answer, and when it came.
#[derive(Clone, Debug, Default)]
pub struct LastAnswer(Option<(Instant, String)>);

impl LastAnswer {
    /// It has answered with its name and version.
    pub fn note(&mut self, now: Instant, version: String) {
        self.0 = Some((now, version));
    }

    /// What that means now.
    pub fn presence(&self, now: Instant) -> Presence {
        match &self.0 {
            None => Presence::Awaited,
            Some((at, _)) if now.saturating_duration_since(*at) >= SILENCE => Presence::Down,
            Some((_, version)) => Presence::Up(version.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_down_after_thirty_seconds_of_silence_and_up_with_the_next_answer() {
        let (start, up) = (Instant::now(), |version: &str| Presence::Up(version.to_owned()));
        let after = |seconds: f64| start + Duration::from_secs_f64(seconds);
        let mut last = LastAnswer::default();
        assert_eq!(last.presence(after(1000.0)), Presence::Awaited, "it has yet to answer, however long that takes");
        last.note(after(1000.0), "c://1".to_owned());
        assert_eq!(last.presence(after(1029.9)), up("c://1"), "a restart of it is no fault");
        assert_eq!(last.presence(after(1030.0)), Presence::Down);
        assert_eq!(last.presence(after(9000.0)), Presence::Down);
        last.note(after(9000.0), "c://2".to_owned());
        assert_eq!(last.presence(after(9000.0)), up("c://2"), "at once, with the version of now");
    }

    #[test]
    fn who_is_not_there_has_no_version_and_a_fault() {
        let told = |presence: Presence| (presence.version().to_owned(), presence.fault().is_some());
        assert_eq!(told(Presence::Up("c://1".to_owned())), ("c://1".to_owned(), false));
        assert_eq!([told(Presence::Awaited), told(Presence::Down)], [(String::new(), true), (String::new(), true)]);
    }
}
