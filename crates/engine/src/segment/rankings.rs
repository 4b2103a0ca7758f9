//! Between the passes: the distinct queries are scored, block by block.
//!
//! A block that is scored is stored before the next one starts, so that a killed run repeats at most
//! one. Beside the scoring of a block, the ends of lines are rendered from the one before.

use super::answers::{Answers, TailMaker};
use super::asked::{Answerer, Group};
use super::blocks::Blocks;
use super::budget::Budget;
use super::pipeline::{SegmentError, SegmentOptions, look};
use super::plan::Plan;
use super::render::{TailForm, UserFragments};
use super::tails::Tails;
use crate::Error;
use crate::progress::Progress;
use crate::score::Ranking;
use crate::selection::{Selection, set_bytes};
use std::ops::Range;
use std::panic::resume_unwind;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// Form of the files with finished rankings, so that those of an earlier version are scored again.
const BLOCK_FORM: &[u8] = b"kindred blocks 3";
/// Bytes of the sets of users that are scored together.
const AUDIENCE_BYTES_AT_ONCE: usize = 64 << 20;

/// Ranks users for queries of a plan.
pub(crate) struct Ranker<'a> {
    pub(crate) scorer: &'a dyn Answerer,
    pub(crate) selection: &'a Selection,
    pub(crate) plan: &'a Plan<'a>,
    pub(crate) options: &'a SegmentOptions,
}

impl Ranker<'_> {
    /// Scores the distinct queries in blocks; those that an earlier try finished are taken up.
    pub(crate) fn answers(
        &self,
        budget: &Budget,
        progress: &dyn Progress,
    ) -> Result<Answers, SegmentError> {
        let form = TailForm {
            fragments: UserFragments::new(self.scorer.model().users()),
            documented: self.options.documented_format,
        };
        let used = form.fragments.bytes() + self.plan.bytes();
        let maker = TailMaker {
            plan: self.plan,
            form: &form,
            with_scores: self.options.scores,
            tails: Tails::new(budget.rest_bytes.saturating_sub(used)),
            place: 0,
            line: Vec::new(),
        };
        let (blocks, tails) = std::thread::scope(|scope| {
            // One block is rendered, none waits.
            let (rendered, receiver) = sync_channel(0);
            let thread = std::thread::Builder::new().name("segment-tails".into());
            let thread = thread
                .spawn_scoped(scope, move || make_tails(maker, &receiver))
                .map_err(|source| SegmentError::Threads { source })?;
            let blocks = self.blocks(budget, progress, &rendered);
            drop(rendered);
            let tails = thread.join().unwrap_or_else(|panic| resume_unwind(panic));
            Ok::<_, SegmentError>((blocks?, tails))
        })?;
        Ok(Answers {
            blocks,
            tails,
            form,
        })
    }

    /// Scores or takes up all blocks; hands their rankings on as long as somebody takes them.
    fn blocks(
        &self,
        budget: &Budget,
        progress: &dyn Progress,
        rendered: &SyncSender<Vec<Ranking>>,
    ) -> Result<Blocks, SegmentError> {
        let options = self.options;
        let ranking_len = options.k.min(self.scorer.users());
        let by_memory = budget.block_bytes / (8 * ranking_len.max(1));
        let block_len = self.scorer.block_len(options.k).min(by_memory).max(1);
        let fingerprint = self.fingerprint([ranking_len, block_len]);
        let mut blocks = Blocks::new(
            &options.scratch_dir,
            fingerprint,
            block_len,
            options.scores,
            &options.scratch_vault,
        )?;
        let distinct = self.plan.distinct.len();
        let total = distinct as u64;
        let mut wanted = true;
        for from in (0..distinct).step_by(block_len) {
            look(progress, "score queries", from as u64, total)?;
            let places = from..(from + block_len).min(distinct);
            let rankings = if !blocks.take_up(places.len())? {
                let rankings = self.rank(places)?;
                blocks.push(&rankings)?;
                rankings
            } else if wanted {
                blocks.rankings(places)?
            } else {
                continue;
            };
            wanted = wanted && rendered.send(rankings).is_ok();
        }
        progress.report("score queries", total, total, "");
        Ok(blocks)
    }

    /// The rankings of the queries in these places.
    fn rank(&self, places: Range<usize>) -> Result<Vec<Ranking>, Error> {
        let Ranker { plan, options, .. } = self;
        let asked: Vec<(u32, u32)> = places.map(|place| plan.distinct.get(place)).collect();
        let questions: Vec<u32> = asked.iter().map(|(question, _)| *question).collect();
        let mut rankings = Vec::with_capacity(asked.len());
        let mut groups: Vec<Group<'_>> = Vec::new();
        let (mut from, mut bytes) = (0, 0);
        for same in asked.chunk_by(|a, b| a.1 == b.1) {
            let users = plan.audiences.users(same[0].1);
            bytes += users.as_ref().map_or(0, set_bytes);
            groups.push(Group {
                users,
                questions: &questions[from..from + same.len()],
            });
            from += same.len();
            if bytes >= AUDIENCE_BYTES_AT_ONCE || from == asked.len() {
                let (k, threads) = (options.k, options.threads);
                let interacted = self.selection.interacted();
                let ranked = plan.questions.rank(&groups, interacted, k, threads)?;
                rankings.extend(ranked);
                groups.clear();
                bytes = 0;
            }
        }
        Ok(rankings)
    }

    /// Stands for all that decides the bytes of the blocks: model, users, queries, lengths, form.
    fn fingerprint(&self, [ranking_len, block_len]: [usize; 2]) -> u64 {
        use sha2::{Digest, Sha256};
        let Ranker { scorer, plan, .. } = self;
        let mut hash = Sha256::new();
        hash.update(BLOCK_FORM);
        for (name, checksum) in &scorer.model().card().checksums {
            hash.update(name.as_bytes());
            hash.update(checksum.as_bytes());
        }
        let scores = usize::from(self.options.scores);
        for number in [scorer.users(), ranking_len, block_len, scores] {
            hash.update((number as u64).to_le_bytes());
        }
        self.selection.add_to(&mut hash);
        plan.questions.add_to(&mut hash);
        plan.audiences.add_to(&mut hash);
        for key in plan.distinct.keys() {
            hash.update(key.to_le_bytes());
        }
        let digest = hash.finalize();
        let mut first = [0; 8];
        first.copy_from_slice(&digest[..8]);
        u64::from_le_bytes(first)
    }
}

/// Makes tails of what comes until there is no room for more; whoever sends notices.
fn make_tails(mut maker: TailMaker<'_>, receiver: &Receiver<Vec<Ranking>>) -> Tails {
    while !maker.is_full()
        && let Ok(rankings) = receiver.recv()
    {
        maker.add(&rankings);
    }
    maker.tails
}
