//! A program that talks with a peer in its script's place: what it is to read, and what it has
//! written. No descriptors here.

use std::collections::VecDeque;

use crate::frameserver::machine::Command;
use crate::ipc::link::{Ends, ToScript};
use crate::ipc::{Carries, Exit, Framing};
use crate::wire::a12::event::{External, Target, Text};
use crate::wire::{a12, zmtp};

/// See the module.
#[derive(Debug)]
pub(in crate::frameserver) struct Program {
    speech: Speech,
    /// For it to read.
    input: VecDeque<u8>,
    /// Nothing follows in `input`.
    input_ends: bool,
    /// It has closed its input.
    deaf: bool,
    /// A message of which not all has come.
    begun: Vec<u8>,
    /// What comes is in the middle of a message.
    amid: bool,
    /// What it has written, and nobody has looked at.
    output: Vec<u8>,
    /// It writes nothing more.
    output_ended: bool,
    /// What is to be said next.
    ready: VecDeque<Command>,
    exit: Option<Exit>,
}

/// What its bytes are.
#[derive(Debug)]
enum Speech {
    Stream,
    Text,
    Lines { most: usize },
    Lengths(Lengths),
}

impl Program {
    pub(super) fn new(carries: Carries, framing: Framing) -> Self {
        let speech = match (carries, framing) {
            (Carries::Stream { .. }, _) => Speech::Stream,
            (Carries::Events, _) => Speech::Text,
            (Carries::Messages { most, .. }, framing) => {
                let most = usize::try_from(most).unwrap_or(usize::MAX);
                match framing {
                    Framing::Lines => Speech::Lines { most },
                    Framing::Lengths => Speech::Lengths(Lengths::new(most)),
                }
            }
        };
        Self {
            speech,
            input: VecDeque::new(),
            input_ends: false,
            deaf: false,
            begun: Vec::new(),
            amid: false,
            output: Vec::new(),
            output_ended: false,
            ready: VecDeque::new(),
            exit: None,
        }
    }

    // ---- from the peer

    /// Whether the peer has said this to it. Windows beside the first one are the script's.
    pub(super) fn is_for_it(&self, message: &ToScript) -> bool {
        match message {
            ToScript::Piece { .. } | ToScript::Finished { .. } => true,
            ToScript::Event {
                segment,
                event: External::Message(_),
            } => segment.channel == super::PRIMARY,
            _ => false,
        }
    }

    /// Whether it can be given something.
    pub(super) fn has_room(&self) -> bool {
        self.input.len() < HELD
    }

    /// Whether the rest of a message has to follow.
    pub(super) fn is_amid(&self) -> bool {
        self.amid
    }

    /// Gives it what [is for it](Self::is_for_it).
    pub(super) fn give(&mut self, message: ToScript) {
        match message {
            ToScript::Piece { bytes, ends, .. } => self.give_piece(bytes, ends),
            ToScript::Event {
                event: External::Message(text),
                ..
            } => {
                self.input.extend(text.text.as_bytes());
                if !text.multipart {
                    self.input.push_back(b'\n');
                }
            }
            ToScript::Finished { .. } => self.input_ends = true,
            _ => {}
        }
        if self.deaf {
            self.input.clear();
        }
    }

    fn give_piece(&mut self, bytes: Vec<u8>, ends: Ends) {
        self.amid = ends != Ends::Message && !matches!(self.speech, Speech::Stream);
        match (&self.speech, ends) {
            (Speech::Stream | Speech::Text, _) => self.input.extend(bytes),
            (Speech::Lines { .. }, ends) => {
                self.input.extend(bytes);
                self.input.extend(match ends {
                    Ends::Nothing => None,
                    Ends::Part => Some(b'\t'),
                    Ends::Message => Some(b'\n'),
                });
            }
            (Speech::Lengths(_), Ends::Nothing) => self.begun.extend(bytes),
            (Speech::Lengths(_), ends) => {
                self.begun.extend(bytes);
                let part = std::mem::take(&mut self.begun);
                let more = if ends == Ends::Part { MORE } else { 0 };
                let length = u32::try_from(part.len()).unwrap_or(u32::MAX) & !MORE;
                self.input.extend((length | more).to_be_bytes());
                self.input.extend(part);
            }
        }
    }

    /// The peer says nothing more.
    pub(super) fn hang_up(&mut self) {
        self.input_ends = true;
    }

    /// What is to be written to it next.
    pub(in crate::frameserver) fn input(&self) -> &[u8] {
        self.input.as_slices().0
    }

    /// So much of that is written.
    pub(in crate::frameserver) fn took(&mut self, bytes: usize) {
        self.input.drain(..bytes.min(self.input.len()));
        if self.input.is_empty() {
            self.input.shrink_to(0);
        }
    }

    /// It has closed its input: what is for it goes nowhere.
    pub(in crate::frameserver) fn is_deaf(&mut self) {
        self.deaf = true;
        self.input.clear();
    }

    /// Its input is to be closed.
    pub(in crate::frameserver) fn is_told_all(&self) -> bool {
        self.input_ends && self.input.is_empty()
    }

    // ---- to the peer

    /// How many bytes it may write.
    pub(in crate::frameserver) fn room(&self) -> usize {
        match self.ready.is_empty() {
            true => HELD.saturating_sub(self.output.len()),
            false => 0,
        }
    }

    /// It has written this.
    pub(in crate::frameserver) fn wrote(&mut self, bytes: &[u8]) {
        self.output.extend_from_slice(bytes);
    }

    /// It writes nothing more.
    pub(in crate::frameserver) fn is_silent(&mut self) {
        self.output_ended = true;
    }

    /// It has ended.
    pub(super) fn exited(&mut self, exit: Exit) {
        self.exit.get_or_insert(exit);
    }

    /// Whether it has ended; then what is in its pipe is all that follows.
    pub(in crate::frameserver) fn has_exited(&self) -> bool {
        self.exit.is_some()
    }

    /// What it says next.
    pub(super) fn next(&mut self) -> Option<Command> {
        if self.ready.is_empty() {
            self.cut();
        }
        self.ready.pop_front()
    }

    /// How it has ended, once it has nothing more to say.
    pub(super) fn over(&self) -> Option<Exit> {
        let said = self.output_ended && self.output.is_empty() && self.ready.is_empty();
        self.exit.filter(|_| said)
    }

    /// Takes the next messages out of the output.
    fn cut(&mut self) {
        match &mut self.speech {
            Speech::Stream if self.output.is_empty() => {}
            Speech::Stream => {
                let bytes = std::mem::take(&mut self.output);
                self.ready.push_back(Command::Write(bytes));
            }
            Speech::Text => {
                if let Some(line) = line(&mut self.output, LINE, self.output_ended) {
                    self.ready.extend(texts(&line));
                }
            }
            Speech::Lines { most } => {
                let most = LINE.min(*most);
                self.ready
                    .extend(line(&mut self.output, most, self.output_ended).map(send));
            }
            Speech::Lengths(lengths) => {
                let messages = lengths.take(&mut self.output);
                let send = |parts| Command::Zmtp(zmtp::Command::Send(parts));
                self.ready.extend(messages.into_iter().map(send));
                if self.output_ended {
                    self.output.clear();
                }
            }
        }
    }
}

fn send(line: Vec<u8>) -> Command {
    Command::Zmtp(zmtp::Command::Send(vec![line]))
}

/// Takes a line, without its end, from the front; of a longer one than `most` that much, and what is
/// left where nothing follows. A character is not cut.
fn line(output: &mut Vec<u8>, most: usize, ended: bool) -> Option<Vec<u8>> {
    let end = output
        .iter()
        .take(most.saturating_add(1))
        .position(|byte| *byte == b'\n');
    let (length, skip) = match end {
        Some(at) => (at, 1),
        None if output.len() > most => (whole(output, most), 0),
        None if ended && !output.is_empty() => (output.len(), 0),
        None => return None,
    };
    let line = output.get(..length).unwrap_or_default().to_vec();
    output.drain(..length + skip);
    Some(line)
}

/// How many of the first `most` bytes there are without the beginning of a character.
fn whole(bytes: &[u8], most: usize) -> usize {
    let first = bytes.get(..most).unwrap_or(bytes);
    match std::str::from_utf8(first) {
        Err(error) if error.error_len().is_none() && error.valid_up_to() > 0 => error.valid_up_to(),
        _ => first.len(),
    }
}

/// A line as messages of text, cut as those of a script are.
fn texts(line: &[u8]) -> Vec<Command> {
    let line = String::from_utf8_lossy(line);
    let mut rest = line.as_ref();
    let mut commands = Vec::new();
    loop {
        let (text, more) = rest.split_at(rest.floor_char_boundary(TEXT));
        rest = more;
        commands.push(Command::A12(a12::Command::Target {
            channel: super::PRIMARY,
            event: Target::Message(Text {
                text: text.to_owned(),
                multipart: !more.is_empty(),
            }),
        }));
        if rest.is_empty() {
            return commands;
        }
    }
}

/// Parts behind their lengths, as they are put together again.
#[derive(Debug)]
struct Lengths {
    /// The largest message, in bytes.
    most: usize,
    parts: Vec<Vec<u8>>,
    part: Vec<u8>,
    /// How many bytes of the part are missing; `None`: its length is.
    left: Option<usize>,
    more: bool,
    bytes: usize,
    /// It is too large, and dropped.
    dropped: bool,
}

impl Lengths {
    fn new(most: usize) -> Self {
        Self {
            most,
            parts: Vec::new(),
            part: Vec::new(),
            left: None,
            more: false,
            bytes: 0,
            dropped: false,
        }
    }

    /// Takes what there is; gives the messages that are whole.
    fn take(&mut self, output: &mut Vec<u8>) -> Vec<Vec<Vec<u8>>> {
        let mut messages = Vec::new();
        let mut rest = output.as_slice();
        loop {
            let left = match self.left {
                Some(left) => left,
                None => match rest.split_first_chunk() {
                    Some((length, after)) => {
                        rest = after;
                        self.begin(u32::from_be_bytes(*length))
                    }
                    None => break,
                },
            };
            let (now, after) = rest.split_at(left.min(rest.len()));
            rest = after;
            if !self.dropped {
                self.part.extend_from_slice(now);
            }
            self.left = Some(left - now.len());
            if left > now.len() {
                break;
            }
            self.left = None;
            self.parts.push(std::mem::take(&mut self.part));
            if !self.more {
                self.bytes = 0;
                let parts = std::mem::take(&mut self.parts);
                if !std::mem::take(&mut self.dropped) {
                    messages.push(parts);
                }
            }
        }
        *output = rest.to_vec();
        messages
    }

    fn begin(&mut self, length: u32) -> usize {
        self.more = length & MORE != 0;
        let length = usize::try_from(length & !MORE).unwrap_or(usize::MAX);
        // A part counts for something, too, or a message of empty ones had no end.
        self.bytes = self.bytes.saturating_add(length).saturating_add(1);
        if self.bytes > self.most.saturating_add(LEEWAY) {
            self.dropped = true;
            self.parts.clear();
        }
        if self.dropped {
            self.part = Vec::new();
        }
        self.left = Some(length);
        length
    }
}

/// Another part follows.
const MORE: u32 = 1 << 31;

/// How many parts are not counted.
const LEEWAY: usize = 64;

/// As much waits for a program that does not read, and as much that it has written.
const HELD: usize = 64 * 1024;

/// A line that is longer comes in several messages.
const LINE: usize = 32 * 1024;

/// The most bytes of text in one message event.
const TEXT: usize = 77;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ipc::link::pieces;
    use crate::ipc::{SegmentId, SessionId};

    const MESSAGES: Carries = Carries::Messages {
        socket: zmtp::SocketType::Router,
        most: 100_000,
        high_water: 10,
    };

    fn said(program: &mut Program, cuts: &[usize], output: &[u8]) -> Vec<Command> {
        let (mut rest, mut commands) = (output, Vec::new());
        let mut cuts = cuts.iter().cycle();
        while !rest.is_empty() {
            let most = program.room().min(*cuts.next().unwrap());
            let (now, later) = rest.split_at(rest.len().min(most));
            program.wrote(now);
            commands.extend(std::iter::from_fn(|| program.next()));
            rest = later;
        }
        program.is_silent();
        commands.extend(std::iter::from_fn(|| program.next()));
        commands
    }

    fn told(program: &mut Program, parts: Vec<Vec<u8>>) -> Vec<u8> {
        let segment = SegmentId {
            session: SessionId(1),
            channel: 0,
        };
        for (bytes, ends) in pieces(parts) {
            program.give(ToScript::Piece {
                segment,
                bytes,
                ends,
            });
        }
        let told = program.input.iter().copied().collect();
        program.input.clear();
        told
    }

    proptest! {
        #[test]
        fn i9_lengths_are_the_same_however_they_are_split_and_come_back_as_they_went(
            messages in prop::collection::vec(prop::collection::vec(prop_oneof![0..9usize, 60_000..70_000usize], 1..3), 0..4),
            cuts in prop::collection::vec(prop_oneof![1..5usize, 1000..70_000usize], 1..5),
        ) {
            let messages: Vec<Vec<Vec<u8>>> = messages
                .iter()
                .map(|parts| parts.iter().map(|size| vec![7; size / parts.len()]).collect())
                .collect();
            let mut program = Program::new(MESSAGES, Framing::Lengths);
            let told: Vec<u8> = messages.iter().flat_map(|parts| told(&mut program, parts.clone())).collect();
            let said = said(&mut program, &cuts, &told);
            let wanted: Vec<_> = messages.into_iter().map(|parts| Command::Zmtp(zmtp::Command::Send(parts))).collect();
            prop_assert_eq!(said, wanted);
        }

        #[test]
        fn i9_lines_are_the_same_however_they_are_split(
            lines in prop::collection::vec("[a-zä€]{0,100}", 0..20),
            cuts in prop::collection::vec(1..50usize, 1..5),
        ) {
            let text = lines.iter().map(|line| format!("{line}\n")).collect::<String>();
            let mut program = Program::new(MESSAGES, Framing::Lines);
            let wanted: Vec<_> = lines.iter().map(|line| send(line.clone().into_bytes())).collect();
            prop_assert_eq!(said(&mut program, &cuts, text.as_bytes()), wanted);

            let mut program = Program::new(Carries::Events, Framing::Lines);
            let mut heard = vec![String::new()];
            for command in said(&mut program, &cuts, text.as_bytes()) {
                let Command::A12(a12::Command::Target { event: Target::Message(text), .. }) = command else {
                    panic!("no text");
                };
                prop_assert!(text.text.len() <= TEXT);
                heard.last_mut().unwrap().push_str(&text.text);
                if !text.multipart {
                    heard.push(String::new());
                }
            }
            heard.pop();
            prop_assert_eq!(heard, lines);
        }
    }

    #[test]
    fn i7_a_line_and_a_message_without_end_are_not_kept() {
        let endless = vec![b'x'; 1_000_000];
        let mut program = Program::new(MESSAGES, Framing::Lines);
        let lines = said(&mut program, &[HELD], &endless);
        assert_eq!(lines.len(), 1_000_000_usize.div_ceil(LINE));

        let mut program = Program::new(MESSAGES, Framing::Lengths);
        let large = [&900_000_u32.to_be_bytes()[..], &endless[..900_000]].concat();
        let small = [&[0, 0, 0, 1][..], b"y"].concat();
        let said = said(&mut program, &[HELD], &[large, small].concat());
        assert_eq!(said, [send(b"y".to_vec())]);
        let Speech::Lengths(lengths) = &program.speech else {
            panic!("lengths");
        };
        assert!(lengths.part.capacity() < 100_000);
    }

    #[test]
    fn the_parts_of_a_message_make_a_line() {
        let mut program = Program::new(MESSAGES, Framing::Lines);
        let parts = vec![b"a".to_vec(), b"b".to_vec()];
        assert_eq!(told(&mut program, parts), b"a\tb\n");
    }

    #[test]
    fn it_is_over_once_it_has_ended_and_all_it_said_is_taken() {
        let mut program = Program::new(MESSAGES, Framing::Lines);
        program.wrote(b"last");
        program.exited(Exit::Code(3));
        assert_eq!((program.next(), program.over()), (None, None));
        program.is_silent();
        assert_eq!(program.over(), None);
        assert_eq!(program.next(), Some(send(b"last".to_vec())));
        assert_eq!(program.over(), Some(Exit::Code(3)));
    }
}
