//! The validation gate: which towers serve.
//!
//! Both kinds of towers are trained on the data before the cut and asked for the events after it. The
//! budget is counted in floating point operations, never in seconds, so that the choice is the same
//! on every machine.

use super::assemble::{Moment, assemble};
use super::choose::{self, Chosen, IALS_WEIGHTS, LOOKBACK_WEIGHTS};
use super::events::{Pairs, Prefix};
use super::held_back::HeldBack;
use super::ials;
use super::lookback::{Course, Lookback};
use super::repeats::Repeats;
use super::towers::{IALS, Ials, LOOKBACK, Towers};
use super::validate;
use super::work::{Step, Work};
use super::{CandidateFigures, Choices, ModelChoice, Returns, TrainOptions, Validation};
use crate::error::Error;
use crate::model::Model;

/// Sweeps of iALS from a random start.
pub(crate) const SWEEPS: usize = 8;
/// Sweeps from the towers of the validation cut.
pub(crate) const SWEEPS_AGAIN: usize = 4;
/// Most epochs of the look-back towers on the validation cut.
pub(crate) const EPOCHS_MAX: usize = 8;
/// Epochs without a better likelihood after which it ends.
const PATIENCE: usize = 2;
/// Epochs on all data, started from the towers of the validation cut.
pub(crate) const EPOCHS_AGAIN: usize = 2;

/// Towers of the validation cut and what was chosen for them.
pub(crate) struct Candidate {
    towers: Towers,
    chosen: Chosen,
    figures: Vec<CandidateFigures>,
    epochs: usize,
    trained: bool,
    returns: Option<Returns>,
    first_time_scale: f64,
    validation: Option<Validation>,
    /// The model of the validation cut, if it was asked for.
    pub(crate) at_cut: Option<Model>,
}

/// Trains the candidates there are and gives the better one; with `keep_cut` also its model of the cut.
pub(crate) fn best(
    held_back: &HeldBack<'_>,
    moment: &Moment<'_>,
    keep_cut: bool,
    options: &TrainOptions,
    work: &mut Work<'_>,
    notes: &mut Vec<String>,
) -> Result<Candidate, Error> {
    let course = (options.model != ModelChoice::Ials)
        .then(|| Course::new(held_back.before, &held_back.pairs));
    let affordable =
        |course: &Course<'_>| !course.is_empty() && affordable_epochs(course, options) > 0;
    let (course, unaffordable) = match course {
        Some(course) if affordable(&course) => (Some(course), None),
        other => (None, other),
    };
    if let Some(course) = unaffordable {
        notes.push(format!(
            "the look-back towers would need {:.3e} floating point operations an epoch, too many for the \
             budget of {:.3e}; iALS serves",
            course.epoch_flops(options.dimension),
            options.budget_flops
        ));
    }
    let mut candidates = Vec::new();
    let ials = ials(held_back, options, work)?;
    let alone = options.model == ModelChoice::Lookback && course.is_some();
    if let Some(course) = course {
        let epochs_max = affordable_epochs(&course, options);
        candidates.push(lookback(
            held_back, &course, &ials, epochs_max, options, work,
        )?);
    }
    if !alone {
        candidates.insert(0, ials);
    }
    let mut figures = Vec::new();
    let mut best: Option<(f64, Candidate)> = None;
    for mut candidate in candidates {
        let mut choices = candidate.choices();
        let came = |user: usize| held_back.events_of(user as u32).collect();
        let fitted = assemble(
            moment,
            &candidate.towers,
            &mut choices,
            options,
            Some(&came),
        );
        work.finished(Step::Other, "validation scores")?;
        candidate.returns = choices.returns.clone();
        let mut tried = validate::Tried::new(held_back, fitted)?;
        candidate.first_time_scale = tried.first_time_scale();
        tried.scale_first_time(candidate.first_time_scale);
        work.finished(Step::Other, "validation first times")?;
        let (recalls, validation) = tried.measure(moment, options.seed);
        let value = merit(recalls);
        let better = best.as_ref().is_none_or(|(highest, _)| value > *highest);
        if better {
            candidate.validation = Some(validation);
        }
        if keep_cut {
            candidate.at_cut = Some(tried.into_model(choices));
        }
        let mut own = candidate.figures.remove(0);
        own.recall_at_1_percent = recalls.all;
        own.first_time_recall = recalls.first_time;
        figures.push(own);
        if better {
            best = Some((value, candidate));
        }
        work.finished(Step::Choices, "validation recall")?;
    }
    work.validated()?;
    let (_, mut candidate) = best.ok_or_else(|| Error::Input("no towers to choose from".into()))?;
    candidate.figures = figures;
    Ok(candidate)
}

/// What is compared: users who come back and users who come for the first time count alike.
fn merit(recalls: validate::Recalls) -> f64 {
    recalls.all + recalls.first_time
}

/// Epochs on the validation cut that the budget allows, those on all data being paid, too.
fn affordable_epochs(course: &Course<'_>, options: &TrainOptions) -> usize {
    let each = course.epoch_flops(options.dimension).max(1.0);
    let all = (options.budget_flops / each).min(1e6) as usize;
    all.saturating_sub(EPOCHS_AGAIN).min(EPOCHS_MAX)
}

fn ials(
    held_back: &HeldBack<'_>,
    options: &TrainOptions,
    work: &mut Work<'_>,
) -> Result<Candidate, Error> {
    let mut towers = random_ials(held_back.before, options);
    sweep(
        &mut towers,
        &held_back.pairs,
        SWEEPS,
        "validation sweep",
        work,
    )?;
    let (towers, weights, fold_in_likelihoods) = choose::fold_in(held_back, towers, options)?;
    work.finished(Step::Other, "validation fold-in")?;
    let chosen = choose::repeats(held_back, &towers, weights, options);
    work.finished(Step::Other, "validation repeats")?;
    Ok(Candidate {
        towers,
        chosen,
        figures: vec![CandidateFigures {
            towers: IALS.into(),
            likelihood: chosen.likelihood,
            fold_in_likelihoods,
            ..CandidateFigures::default()
        }],
        epochs: 0,
        trained: true,
        returns: None,
        first_time_scale: 0.0,
        validation: None,
        at_cut: None,
    })
}

fn lookback(
    held_back: &HeldBack<'_>,
    course: &Course<'_>,
    ials: &Candidate,
    epochs_max: usize,
    options: &TrainOptions,
    work: &mut Work<'_>,
) -> Result<Candidate, Error> {
    let (before, dimension, seed) = (held_back.before, options.dimension, options.seed);
    let start = Lookback::from_ials(
        before,
        &held_back.pairs,
        &ials.towers,
        ials.chosen.weights,
        dimension,
        seed,
    );
    let mut towers = start.unwrap_or_else(|| Lookback::random(before, dimension, seed));
    let mut likelihoods: Vec<f64> = Vec::new();
    let mut best: Option<(f64, usize, Lookback)> = None;
    let mut weights = LOOKBACK_WEIGHTS;
    for epoch in 1..=epochs_max {
        run_epoch(&mut towers, course, epoch, options, work)?;
        let candidate = Towers::Lookback(Box::new(towers));
        let (found, likelihood) = choose::weigh(held_back, &candidate, weights, options);
        weights = found;
        likelihoods.push(likelihood);
        let Towers::Lookback(same) = candidate else {
            unreachable!("the towers made above are of this kind")
        };
        towers = *same;
        if best
            .as_ref()
            .is_none_or(|(highest, _, _)| likelihood > *highest)
        {
            best = Some((likelihood, epoch, towers.clone()));
        } else if best
            .as_ref()
            .is_some_and(|(_, at, _)| epoch >= at + PATIENCE)
        {
            break;
        }
    }
    let (_, epochs, towers) = best.ok_or_else(|| Error::Input("no epoch was affordable".into()))?;
    let towers = Towers::Lookback(Box::new(towers));
    let (weights, _) = choose::weigh(held_back, &towers, weights, options);
    let chosen = choose::repeats(held_back, &towers, weights, options);
    work.finished(Step::Other, "validation repeats")?;
    Ok(Candidate {
        towers,
        chosen,
        figures: vec![CandidateFigures {
            towers: LOOKBACK.into(),
            likelihood: chosen.likelihood,
            epoch_likelihoods: likelihoods,
            ..CandidateFigures::default()
        }],
        epochs,
        trained: true,
        returns: None,
        first_time_scale: 0.0,
        validation: None,
        at_cut: None,
    })
}

impl Candidate {
    /// Where nothing can be held back: iALS with middling weights.
    pub(crate) fn untried(
        prefix: &Prefix<'_>,
        pairs: &Pairs,
        options: &TrainOptions,
    ) -> Result<Candidate, Error> {
        Ok(Candidate {
            towers: Towers::Ials(Ials::new(random_ials(prefix, options), pairs, None)?),
            chosen: Chosen {
                weights: IALS_WEIGHTS,
                repeats: Repeats::NONE,
                likelihood: 0.0,
            },
            figures: Vec::new(),
            epochs: 0,
            trained: false,
            returns: None,
            first_time_scale: 0.0,
            validation: None,
            at_cut: None,
        })
    }

    /// For the model card.
    pub(crate) fn choices(&self) -> Choices {
        Choices {
            towers: self.towers.name().into(),
            candidates: self.figures.clone(),
            fold_in_decay: match &self.towers {
                Towers::Ials(ials) => ials.decay,
                Towers::Lookback(_) => None,
            },
            b: self.chosen.weights.b,
            c: self.chosen.weights.c,
            kappa: libm::exp(self.chosen.repeats.log_kappa),
            pi: self.chosen.repeats.pi(),
            own_history: self.chosen.repeats.own_history(),
            returns: self.returns.clone(),
            first_time_scale: self.first_time_scale,
            validation: self.validation.clone(),
            ..Choices::default()
        }
    }

    /// Trains the towers on all of a prefix, started from those of the validation cut.
    pub(crate) fn finish(
        self,
        prefix: &Prefix<'_>,
        pairs: &Pairs,
        choices: &mut Choices,
        options: &TrainOptions,
        work: &mut Work<'_>,
    ) -> Result<Towers, Error> {
        let towers = match self.towers {
            Towers::Ials(ials) => {
                let count = if self.trained { SWEEPS_AGAIN } else { SWEEPS };
                let decay = ials.decay;
                let mut towers = ials.towers;
                sweep(&mut towers, pairs, count, "sweep", work)?;
                Towers::Ials(Ials::new(towers, pairs, decay)?)
            }
            Towers::Lookback(mut lookback) => {
                let course = Course::new(prefix, pairs);
                choices.epochs = Some((self.epochs, EPOCHS_AGAIN));
                for epoch in 1..=EPOCHS_AGAIN {
                    run_epoch(&mut lookback, &course, EPOCHS_MAX + epoch, options, work)?;
                }
                Towers::Lookback(lookback)
            }
        };
        work.trained()?;
        Ok(towers)
    }
}

fn random_ials(prefix: &Prefix<'_>, options: &TrainOptions) -> ials::Towers {
    ials::Towers::random(prefix.items(), options.dimension, options.seed)
}

pub(super) fn sweep(
    towers: &mut ials::Towers,
    pairs: &Pairs,
    count: usize,
    name: &str,
    work: &mut Work<'_>,
) -> Result<(), Error> {
    for number in 1..=count {
        let start = work.seconds();
        let loss = towers.sweep(pairs)?;
        let seconds = work.seconds() - start;
        work.sweeps.push(seconds);
        work.finished(Step::Sweep, &format!("{name} {number}, loss {loss:.6e}"))?;
    }
    Ok(())
}

fn run_epoch(
    towers: &mut Lookback,
    course: &Course<'_>,
    number: usize,
    options: &TrainOptions,
    work: &mut Work<'_>,
) -> Result<(), Error> {
    let start = work.seconds();
    let look_back = !options.without.lookback;
    let epoch = towers.epoch(course, number as u64, options.seed, look_back);
    let seconds = work.seconds() - start;
    work.epochs.push((seconds, epoch.flops));
    let rate = epoch.flops / seconds.max(1e-3) / 1e9;
    let detail = format!("epoch {number}, loss {:.4}, {rate:.0} GFLOP/s", epoch.loss);
    work.finished(Step::Epoch, &detail)
}
