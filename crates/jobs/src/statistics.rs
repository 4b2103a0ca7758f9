//! Completes the statistics of a job with what other phases and the system measured.

use serde_json::Value;

/// Adds the training's figures and the peak of the memory to a job's statistics.
pub fn complete(figures: &mut Value, training: Option<&Value>, peak_memory_bytes: Option<u64>) {
    for name in ["train_seconds", "sweep_seconds", "epoch_seconds"] {
        if let Some(value) = training.and_then(|all| all.get(name)) {
            figures[name] = value.clone();
        }
    }
    if let Some(bytes) = peak_memory_bytes {
        figures["peak_memory_bytes"] = bytes.into();
    }
}
