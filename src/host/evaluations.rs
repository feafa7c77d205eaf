//! What admins have running scripts do: `moonport repl`.
//!
//! A script's process evaluates it as a task, between its callbacks, and says when it is done. As long
//! as it has not, it is open here, also when nobody waits for it any more; so whatever a process says
//! of an evaluation that is not open is a lie. It is closed when the process ends, or another one
//! takes its place.

use std::collections::BTreeMap;

use keystore::Actor;

use super::control::Reply;
use super::{Host, ScriptId};
use crate::ipc::admin::FromHost;
use crate::ipc::script::ToScript;
use crate::ipc::{Asked, EvaluationId, MOST_CHUNK, MOST_EVALUATIONS, MOST_SAID, Outcome, Said};

/// Those that are under way.
#[derive(Debug, Default)]
pub(super) struct Evaluations {
    last: u64,
    open: BTreeMap<EvaluationId, Evaluation>,
}

#[derive(Debug)]
struct Evaluation {
    script: ScriptId,
    reply: Reply,
    /// How much may still be said.
    left: usize,
    /// The script has been told that nobody waits.
    cancelled: bool,
}

impl Host {
    /// An admin wants a script to evaluate something.
    pub(super) fn evaluate(&mut self, by: &Actor, name: &str, asked: Asked, reply: Reply) {
        let id = match self.may_evaluate(name, &asked) {
            Ok(id) => id,
            Err(why) => return reply.send(FromHost::Failed(why)),
        };
        // Never what: there may be secrets in it.
        match asked {
            Asked::Chunk(_) => tracing::info!(script = name, %by, "an admin evaluates in it"),
            Asked::Names(_) => tracing::debug!(script = name, %by, "an admin asks for names"),
        }
        self.evaluations.last += 1;
        let evaluation = EvaluationId(self.evaluations.last);
        let begun = Evaluation {
            script: id,
            reply,
            left: MOST_SAID,
            cancelled: false,
        };
        self.evaluations.open.insert(evaluation, begun);
        if let Some(script) = self.scripts.get_mut(&id) {
            script.tell(ToScript::Evaluate { evaluation, asked });
        }
    }

    fn may_evaluate(&self, name: &str, asked: &Asked) -> Result<ScriptId, String> {
        let id = self.script_named(name);
        let id = id.ok_or_else(|| format!("no script {name} runs"))?;
        let reload = self.scripts.get(&id).and_then(|it| it.reload.as_ref());
        if reload.is_some_and(|reload| reload.holds()) {
            return Err("the script is being loaded again; try again in a moment".to_owned());
        }
        if asked.is_too_long() {
            return Err(format!("it is longer than {MOST_CHUNK} bytes"));
        }
        let open = self.evaluations.open.values();
        if open.filter(|it| it.script == id).count() >= MOST_EVALUATIONS {
            return Err(format!(
                "{MOST_EVALUATIONS} evaluations of this script are under way, and no more at once"
            ));
        }
        Ok(id)
    }

    /// Something is said during an evaluation.
    pub(super) fn evaluation_says(&mut self, id: ScriptId, which: EvaluationId, said: Said) {
        let open = self.evaluations.open.get_mut(&which);
        let Some(evaluation) = open.filter(|it| it.script == id) else {
            return self.kill_script(id, "nobody has asked it to evaluate this");
        };
        match evaluation.left.checked_sub(said.cost()) {
            Some(left) => {
                evaluation.left = left;
                evaluation.reply.say(said);
            }
            None => self.kill_script(id, "it says more during an evaluation than it may"),
        }
    }

    /// An evaluation has ended.
    pub(super) fn evaluated(&mut self, id: ScriptId, which: EvaluationId, outcome: Outcome) {
        let is_its = |it: &Evaluation| it.script == id;
        if !self.evaluations.open.get(&which).is_some_and(is_its) {
            return self.kill_script(id, "nobody has asked it to evaluate this");
        }
        if let Some(evaluation) = self.evaluations.open.remove(&which) {
            evaluation.reply.send(FromHost::Evaluated(outcome));
        }
    }

    /// Has scripts end what nobody waits for any more.
    pub(super) fn cancel_unheard(&mut self) {
        for (which, evaluation) in &mut self.evaluations.open {
            if evaluation.reply.is_unheard() && !evaluation.cancelled {
                evaluation.cancelled = true;
                if let Some(script) = self.scripts.get_mut(&evaluation.script) {
                    script.tell(ToScript::Cancel(*which));
                }
            }
        }
    }

    /// The process of a script knows of no evaluation any more.
    pub(super) fn end_evaluations(&mut self, id: ScriptId, why: &str) {
        let all = std::mem::take(&mut self.evaluations.open);
        let (ended, open) = all.into_iter().partition(|(_, it)| it.script == id);
        self.evaluations.open = open;
        for evaluation in BTreeMap::into_values(ended) {
            evaluation.reply.send(FromHost::Failed(why.to_owned()));
        }
    }
}
