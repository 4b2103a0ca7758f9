//! Generated models that are asked for attributes, for tests.

use kindred_types::schema::FieldType;
use rand::{Rng, SeedableRng};

use crate::attributes::head::{AttributeHead, Form};
use crate::attributes::{AttributeIndex, Builder, ColumnInfo};
use crate::model::{AttributeModel, Counts, Model, RECIPE_ITEM_ATTRIBUTE_AFFINITY};
use crate::train::Choices;

pub(crate) const PI: f64 = 0.25;
pub(crate) const KAPPA: f64 = 0.4;

/// A random model whose items have a few values; item 0 has events of nobody.
pub(crate) fn generated(users: usize, items: usize, values: usize, seed: u64) -> AttributeModel {
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    let mut model = Model::generated(users, items, 7, seed);
    model.card_mut().choices = Some(Choices {
        horizon_seconds: 1,
        b: 1.0,
        c: 0.0,
        kappa: KAPPA,
        pi: PI,
        ..Choices::default()
    });
    let mut counts = Counts::default();
    counts.starts.push(0);
    for item in 0..items {
        for user in 0..users as u32 {
            if item > 0 && random.random_range(0..5) == 0 {
                counts.users.push(user);
                counts.events.push(random.random_range(1..6) as f32);
                counts.recent.push(random.random::<f32>());
            }
        }
        counts.starts.push(counts.users.len());
    }
    let column = ColumnInfo {
        name: "V".into(),
        kind: FieldType::Long,
    };
    let mut builder = Builder::new(vec![column]);
    for value in 0..values {
        let mut any = false;
        for item in 0..items as u32 {
            if random.random_range(0..3) == 0 || (!any && item as usize == items - 1) {
                builder.add(0, &value.to_string(), item).unwrap();
                any = true;
            }
        }
    }
    let index: AttributeIndex = builder.finish();
    AttributeModel::new(model.without_history(), index, counts).unwrap()
}

/// The same with a head and a card that agrees, ready to be saved.
pub(crate) fn with_head(users: usize, items: usize, values: usize, seed: u64) -> AttributeModel {
    let mut model = generated(users, items, values, seed);
    let head = AttributeHead {
        columns: model.index().columns().cloned().collect(),
        form: Form::LogLinear {
            weights: [0.5, 1.1, 0.7, 0.4, 0.2, -0.1],
        },
        recent_tau_days: 30.0,
        candidates: Vec::new(),
        validation_queries: 0,
        validation_users: 0,
    };
    let dimension = model.model().dimension();
    let card = model.card_mut();
    card.recipe = RECIPE_ITEM_ATTRIBUTE_AFFINITY.into();
    (card.users, card.items, card.dimension) = (users, items, dimension);
    card.attribute_head = Some(head);
    model
}

/// The same with an index in which item 0 has value 0 alone, item 1 value 1, and so on.
pub(crate) fn with_single_values(model: AttributeModel, values: u32) -> AttributeModel {
    let mut builder = Builder::new(model.index().columns().cloned().collect());
    for value in 0..values {
        builder.add(0, &value.to_string(), value).unwrap();
    }
    let (towers, counts) = (model.model().clone(), model.counts().clone());
    AttributeModel::new(towers, builder.finish(), counts).unwrap()
}
