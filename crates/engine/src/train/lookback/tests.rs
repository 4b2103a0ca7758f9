//! The gradient against finite differences, threads against each other, tastes found.

use super::*;
use crate::interactions::Interactions;
use crate::train::fixtures::two_tastes;

/// A shard of all users with everything fixed but the parameters.
fn shard(towers: &Lookback, course: &Course<'_>, negatives: &[u32]) -> Shard {
    let stride = towers.stride;
    let vectors: Vec<f32> = negatives
        .iter()
        .flat_map(|&item| towers.items()[item as usize * stride..][..stride].to_vec())
        .collect();
    let mut places = vec![0; course.prefix.items()];
    for (&item, place) in negatives.iter().zip(1..) {
        places[item as usize] = place;
    }
    let shifts: Vec<f32> = negatives
        .iter()
        .map(|&item| towers.biases()[item as usize] + 0.7)
        .collect();
    let mut shard = Shard::default();
    shard.users.clone_from(&course.users);
    shard.run(&Context {
        data: course.prefix.data,
        steps: &course.steps,
        bag: Bag {
            inputs: &towers.inputs.values,
            gates: &towers.gates.values,
            start: &towers.start.values,
        },
        outputs: towers.items(),
        biases: towers.biases(),
        stride,
        negatives: Negatives {
            items: negatives,
            vectors: &vectors,
            places: &places,
            shifts: &shifts,
        },
        seed: 5,
        look_back: true,
    });
    shard
}

fn weighted(mut data: Interactions) -> Interactions {
    data.event_weights = (0..data.len())
        .map(|event| [1.0, 0.5, 0.0][event % 3])
        .collect();
    data
}

#[test]
fn the_gradient_is_that_of_the_loss() {
    for data in [
        two_tastes(12, 20, 150, 3),
        weighted(two_tastes(12, 20, 150, 3)),
    ] {
        let prefix = Prefix::whole(&data);
        let pairs = Pairs::new(&prefix);
        let course = Course::new(&prefix, &pairs);
        let mut towers = Lookback::random(&prefix, 10, 1);
        // Larger than at the start, so that every path matters; the padding stays zero.
        for table in [&mut towers.inputs, &mut towers.outputs] {
            table.values.iter_mut().for_each(|value| *value *= 6.0);
        }
        // Some targets are among the negatives, some are not.
        let negatives: Vec<u32> = (0..20).step_by(2).collect();
        let base = shard(&towers, &course, &negatives);
        assert!(base.weight > 50.0);
        let stride = towers.stride;
        let mut gradients = [
            vec![0.0f64; towers.inputs.values.len()],
            vec![0.0; towers.outputs.values.len()],
            base.gates.iter().map(|&g| f64::from(g)).collect(),
            base.start.iter().map(|&g| f64::from(g)).collect(),
            vec![0.0; towers.biases.values.len()],
        ];
        for input in &base.inputs {
            for j in 0..stride {
                let back = base.backward[input.row as usize * stride + j];
                gradients[0][input.item as usize * stride + j] += f64::from(input.weight * back);
            }
        }
        for target in &base.targets {
            for j in 0..stride {
                let state = base.states[target.row as usize * stride + j];
                gradients[1][target.item as usize * stride + j] += f64::from(target.slope * state);
            }
            gradients[4][target.item as usize] += f64::from(target.slope);
        }
        for (place, &item) in negatives.iter().enumerate() {
            for j in 0..stride {
                let value = base.negative_vectors[place * stride + j];
                gradients[1][item as usize * stride + j] += f64::from(value);
            }
            gradients[4][item as usize] += f64::from(base.negative_biases[place]);
        }
        for (which, gradient) in gradients.iter().enumerate() {
            let largest = gradient.iter().fold(0.0f64, |a, b| a.max(b.abs()));
            assert!(largest > 0.01, "table {which}");
            for at in (0..gradient.len())
                .step_by(7)
                .filter(|at| which == 4 || at % stride < 10)
            {
                let loss = |shift: f32| {
                    let mut moved = towers.clone();
                    let table = match which {
                        0 => &mut moved.inputs,
                        1 => &mut moved.outputs,
                        2 => &mut moved.gates,
                        3 => &mut moved.start,
                        _ => &mut moved.biases,
                    };
                    table.values[at] += shift;
                    shard(&moved, &course, &negatives).loss
                };
                let slope = (loss(0.01) - loss(-0.01)) / 0.02;
                assert!(
                    (slope - gradient[at]).abs() < 0.02 * largest,
                    "table {which} at {at}: {slope} and {}",
                    gradient[at]
                );
            }
        }
    }
}

fn epochs(data: &Interactions, count: u64, threads: usize) -> (Lookback, Vec<Epoch>) {
    let prefix = Prefix::whole(data);
    let pairs = Pairs::new(&prefix);
    let course = Course::new(&prefix, &pairs);
    let mut towers = Lookback::random(&prefix, 32, 9);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    let reports = pool.unwrap().install(|| {
        (0..count)
            .map(|epoch| towers.epoch(&course, epoch, 9, true))
            .collect()
    });
    (towers, reports)
}

#[test]
fn one_thread_and_eight_learn_the_same_bytes() {
    // More than 2,048 items, so that negatives are drawn.
    let data = two_tastes(400, 3000, 6000, 5);
    let (alone, _) = epochs(&data, 2, 1);
    for threads in [2, 3, 8] {
        let (together, _) = epochs(&data, 2, threads);
        for (a, b) in [
            (&alone.inputs, &together.inputs),
            (&alone.outputs, &together.outputs),
            (&alone.biases, &together.biases),
            (&alone.gates, &together.gates),
            (&alone.start, &together.start),
        ] {
            assert!(
                a.values
                    .iter()
                    .zip(&b.values)
                    .all(|(a, b)| a.to_bits() == b.to_bits()),
                "{threads} threads"
            );
        }
    }
}

#[test]
fn tastes_are_found_and_the_loss_falls() {
    let data = two_tastes(200, 40, 6000, 7);
    let (towers, reports) = epochs(&data, 12, 2);
    assert!(reports[11].loss < reports[0].loss - 0.2, "{reports:?}");
    assert!(reports[0].targets > 3000.0 && reports[0].flops > 0.0);
    let prefix = Prefix::whole(&data);
    let users: Vec<u32> = (0..200).collect();
    let states = towers.states(&prefix, &users);
    let (mut own, mut other) = (0.0f64, 0.0f64);
    for (user, state) in states.chunks_exact(towers.stride).enumerate() {
        for (item, vector) in towers.items().chunks_exact(towers.stride).enumerate() {
            let score = f64::from(kernels::dot(state, vector));
            let same = (user < 100) == (item < 20);
            if same { own += score } else { other += score }
        }
    }
    assert!(
        (own - other) / (200.0 * 20.0) > 1.0,
        "{own} against {other}"
    );
}

#[test]
fn users_with_one_step_and_empty_data_teach_nothing_and_do_no_harm() {
    let data = crate::train::fixtures::interactions(&[("a", "x", 1), ("a", "y", 1), ("b", "x", 2)]);
    let prefix = Prefix::whole(&data);
    let pairs = Pairs::new(&prefix);
    let course = Course::new(&prefix, &pairs);
    assert!(course.is_empty());
    let mut towers = Lookback::random(&prefix, 32, 1);
    let report = towers.epoch(&course, 0, 1, true);
    assert_eq!((report.targets, report.flops), (0.0, 0.0));
    assert!(
        towers
            .states(&prefix, &[0, 1])
            .iter()
            .all(|value| value.is_finite())
    );
}
