//! A runtime in a child process: what crashes there is an error here, and nothing foreign is linked.
//!
//! Requests and answers are bytes of the runtime's own layout. The first answer is a line of JSON; each of the others
//! begins with 0, or with 1 (refused) or 2 (no room) and the text of an error.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use gravure_base::{Error, ErrorKind, Result};

/// Longest first line, and longest text of an error.
const LONGEST_TEXT: u64 = 1 << 16;
/// How long the last words of a child that has ended are waited for.
const PATIENCE: Duration = Duration::from_millis(500);
/// What is kept of the last that a child says.
const LAST_WORDS: usize = 2048;

/// A child that answers.
#[derive(Debug)]
pub(crate) struct Worker {
    /// The runtime's name, for messages.
    name: &'static str,
    child: Child,
    requests: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    last_words: Arc<Mutex<VecDeque<u8>>>,
    listener: JoinHandle<()>,
}

impl Worker {
    /// Starts `command`; its first line.
    ///
    /// # Errors
    /// `Environment` where it cannot be started, or ends before it has answered.
    pub(crate) fn start(name: &'static str, mut command: Command) -> Result<(Self, Vec<u8>)> {
        let started = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = started.map_err(|e| {
            let program = command.get_program().to_string_lossy().into_owned();
            Error::new(ErrorKind::Environment, format!("`{program}`, in which {name} runs, cannot be started: {e}"))
        })?;
        let (requests, answers, errors) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(answers), Some(mut errors)) = (answers, errors) else { return Err(Error::bug("a child without pipes")) };
        let last_words = Arc::new(Mutex::new(VecDeque::new()));
        let heard = Arc::clone(&last_words);
        // What it says is read as it comes, so that it never waits for us.
        let listener = std::thread::spawn(move || {
            let mut buffer = [0_u8; 1024];
            while let Ok(n @ 1..) = errors.read(&mut buffer) {
                let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
                heard.extend(buffer.iter().take(n));
                let surplus = heard.len().saturating_sub(LAST_WORDS);
                heard.drain(..surplus);
            }
        });
        let mut worker = Self { name, child, requests, answers: BufReader::new(answers), last_words, listener };
        let mut line = Vec::new();
        (&mut worker.answers).take(LONGEST_TEXT).read_until(b'\n', &mut line).map_err(|_| worker.ended())?;
        if line.pop() != Some(b'\n') {
            return Err(worker.ended());
        }
        Ok((worker, line))
    }

    /// Number of the child's process.
    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    /// Sends a request, and reads `size` bytes of the answer.
    ///
    /// # Errors
    /// `Unsupported` for what the runtime refuses and `Limit` for what it has no room for, with its reason; `Environment`
    /// where it has ended.
    pub(crate) fn ask(&mut self, request: &[u8], size: usize) -> Result<Vec<u8>> {
        let sent = self.requests.as_mut().map(|r| r.write_all(request).and_then(|()| r.flush()));
        if !matches!(sent, Some(Ok(()))) {
            return Err(self.ended());
        }
        let mut status = [0_u8];
        self.read(&mut status)?;
        if status == [0] {
            let mut answer = vec![0; size];
            self.read(&mut answer)?;
            return Ok(answer);
        }
        let mut length = [0_u8; 4];
        self.read(&mut length)?;
        let length = u64::from(u32::from_le_bytes(length)).min(LONGEST_TEXT);
        let mut text = vec![0; length as usize];
        self.read(&mut text)?;
        let kind = if status == [2] { ErrorKind::Limit } else { ErrorKind::Unsupported };
        Err(Error::new(kind, String::from_utf8_lossy(&text)))
    }

    fn read(&mut self, out: &mut [u8]) -> Result<()> {
        self.answers.read_exact(out).map_err(|_| self.ended())
    }

    /// The error of a child that no longer answers, with the last that it said.
    fn ended(&mut self) -> Error {
        self.requests = None;
        let _ = self.child.kill();
        let how = self.child.wait().map_or_else(|e| e.to_string(), |status| status.to_string());
        // Others that it has started may hold on to what it writes to: its own last words come at once.
        let patience = Instant::now() + PATIENCE;
        while !self.listener.is_finished() && Instant::now() < patience {
            std::thread::sleep(Duration::from_millis(5));
        }
        let heard: Vec<u8> = self.last_words.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect();
        let heard = String::from_utf8_lossy(&heard).into_owned();
        let mut last: Vec<&str> = heard.lines().map(str::trim).filter(|l| !l.is_empty()).rev().take(3).collect();
        last.reverse();
        let said = if last.is_empty() { "it said nothing".to_owned() } else { format!("it said: {}", last.join(" | ")) };
        Error::new(ErrorKind::Environment, format!("{} ended where it should have answered ({how}); {said}", self.name))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Without requests it ends by itself; one that is busy is not waited for.
        self.requests = None;
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn answers_and_refusals_are_told_apart() {
        let script =
            r#"echo '{"a":1}'; head -c 1 >/dev/null; printf '\0abcd'; head -c 1 >/dev/null; printf '\1\2\0\0\0no'; cat >/dev/null"#;
        let (mut worker, line) = Worker::start("test", shell(script)).unwrap();
        assert_eq!(line, br#"{"a":1}"#);
        assert_eq!(worker.ask(b"x", 4).unwrap(), b"abcd");
        let refused = worker.ask(b"x", 4).unwrap_err();
        assert_eq!((refused.kind(), refused.message()), (ErrorKind::Unsupported, "no"));
    }

    #[test]
    fn a_child_that_ends_is_an_error_with_its_last_words() {
        let started = Worker::start("test", shell("echo 'first line' >&2; echo 'no such library' >&2; exit 3"));
        let error = started.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Environment);
        assert!(error.message().contains("no such library"), "{error}");
        let (mut worker, _) =
            Worker::start("test", shell("echo '{}'; head -c 1 >/dev/null; printf '\\0ab'; echo 'assertion' >&2")).unwrap();
        let error = worker.ask(b"x", 4).unwrap_err();
        assert!(error.message().contains("assertion"), "{error}");
        assert!(worker.ask(b"x", 4).is_err());
        assert!(Worker::start("test", Command::new("/no/such/program")).err().unwrap().message().contains("/no/such/program"));
    }

    #[test]
    fn no_answer_is_read_beyond_its_limit() {
        let endless = Worker::start("test", shell("yes | tr -d '\\n'"));
        assert_eq!(endless.err().unwrap().kind(), ErrorKind::Environment);
        let (mut worker, _) = Worker::start("test", shell("echo '{}'; printf '\\1\\377\\377\\377\\377'; yes")).unwrap();
        assert!(worker.ask(b"x", 4).unwrap_err().message().len() <= LONGEST_TEXT as usize);
    }
}
