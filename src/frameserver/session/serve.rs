//! A program in the script's place: who gets what the client says, and what the end of either means.

use super::program::Program;
use super::{PRIMARY, Session, Stage};
use crate::frameserver::machine::Command;
use crate::ipc::link::{Ends, ToScript};
use crate::ipc::{Carries, Exit, Framing};

impl Session {
    /// A program talks with the client from here on.
    pub(in crate::frameserver) fn serve(&mut self, framing: Framing) {
        self.program = Some(Program::new(self.carries, framing));
    }

    /// The program that does.
    pub(in crate::frameserver) fn program(&mut self) -> Option<&mut Program> {
        self.program.as_mut()
    }

    /// It has ended, or could not be started.
    pub(in crate::frameserver) fn exited(&mut self, exit: Exit) {
        match &mut self.program {
            Some(program) => program.exited(exit),
            None => self.tell_exit(exit),
        }
    }

    fn tell_exit(&mut self, exit: Exit) {
        let segment = self.segment(PRIMARY);
        self.backlog.push_back(ToScript::Exited { segment, exit });
    }

    /// The client is gone: the program may read what it has said to the last.
    pub(in crate::frameserver) fn leave_program(&mut self) -> Option<Program> {
        let mut program = self.program.take()?;
        for message in std::mem::take(&mut self.backlog) {
            match self.begun.is_none() && program.is_for_it(&message) {
                true => program.give(message),
                false => self.backlog.push_back(message),
            }
        }
        program.hang_up();
        Some(program)
    }

    /// Whether a program is to have this. The rest of what the script has begun to hear is the
    /// script's.
    pub(super) fn is_for_program(&self, message: &ToScript) -> bool {
        let program = self.program.as_ref().filter(|_| self.begun.is_none());
        program.is_some_and(|program| program.is_for_it(message))
    }

    /// Gives the program what is for it next; whether nothing of that is left at the front.
    pub(super) fn feed(&mut self) -> bool {
        while self.stage != Stage::Undecided
            && let Some(first) = self.backlog.front()
            && self.is_for_program(first)
        {
            let Some(program) = self.program.as_mut().filter(|it| it.has_room()) else {
                return false;
            };
            if let Some(message) = self.backlog.pop_front() {
                program.give(message);
            }
        }
        true
    }

    /// What the program says next; and what follows from its end.
    pub(super) fn next_of_program(&mut self) -> Option<Command> {
        let primary = self.segments.get(&PRIMARY);
        // A window that has not said what it is takes no messages yet.
        let hears = self.carries != Carries::Events || primary.is_some_and(|it| it.registered);
        let program = self.program.as_mut()?;
        if self.stage != Stage::Accepted || !hears {
            return None;
        }
        if let Some(command) = program.next() {
            return Some(command);
        }
        let exit = program.over()?;
        let mut amid = program.is_amid();
        self.program = None;
        self.backlog.retain(|message| match message {
            ToScript::Piece { ends, .. } if amid => {
                amid = *ends != Ends::Message;
                false
            }
            _ => true,
        });
        self.tell_exit(exit);
        match self.carries {
            Carries::Stream { writable: true } if exit != Exit::NotStarted => {
                self.carries = Carries::Stream { writable: false };
                let failed = exit.is_failure();
                Some(Command::Finish { failed })
            }
            _ => None,
        }
    }
}
