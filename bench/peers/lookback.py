#!/usr/bin/env python3
"""The look-back towers' training step in PyTorch, one thread: CPU seconds of an epoch.

    peers/lookback.py USERS EVENTS ITEMS DIMENSION

The same step as `crates/engine/src/train/lookback/` on data made as its example makes them: a state is
u = u0 + Σ_s G_s ∘ z_s / √c_s with z_s ← g_s z_s + e, every event is predicted from the state after a
random earlier one, by a softmax over its item and 512 negatives that a batch shares, dropout 0.4,
Adagrad. Targets that drew the same state share its row here too. Batches have at least 2,048 rows.
Operations counted: 6 × rows × negatives × dimension, as the program counts them.
"""

import sys

import numpy as np
import torch

from common import Phases

DECAYS = (0.5, 0.8, 0.95, 0.99, 1.0)
NEGATIVES = 512
DROPOUT = 0.4
RATE = 0.05
SQUARES_START = 1e-7
TARGETS_REFERENCE = 4096.0
ROWS_PER_BATCH = 2048
# Steps that one matrix product carries forward.
CHUNK = 16
TOPICS = 50


class Towers(torch.nn.Module):
    """Input and output vectors, biases, gates and the state of a user without events."""

    def __init__(self, items, dimension):
        super().__init__()
        table = lambda width: torch.nn.Embedding(items, width, sparse=True)
        self.inputs, self.outputs, self.biases = table(dimension), table(dimension), table(1)
        for vectors in (self.inputs, self.outputs):
            torch.nn.init.normal_(vectors.weight, std=0.3 / dimension**0.5)
        torch.nn.init.zeros_(self.biases.weight)
        self.gates = torch.nn.Parameter(torch.full((len(DECAYS), dimension), 1 / len(DECAYS)))
        self.start = torch.nn.Parameter(torch.zeros(dimension))
        power = torch.arange(CHUNK)[:, None] - torch.arange(CHUNK)
        decays = torch.tensor(DECAYS)[:, None, None]
        # What the events of a chunk leave at each of its steps, and what is left of the state before it.
        self.within = torch.where(power >= 0, decays ** power.clamp(min=0), 0.0).reshape(-1, CHUNK)
        self.last = self.within.view(len(DECAYS), CHUNK, CHUNK)[:, -1]
        self.before = torch.tensor(DECAYS)[:, None] ** torch.arange(1, CHUNK + 1)

    def sums(self, events):
        """z of every decay after every step: (users, steps, d) → (users, decays, steps rounded up, d)."""
        users, steps, width = events.shape
        events = torch.nn.functional.pad(events, (0, 0, 0, -steps % CHUNK))
        carried, found = events.new_zeros(users, len(DECAYS), 1, width), []
        for part in events.split(CHUNK, dim=1):
            z = torch.addcmul((self.within @ part).view(users, len(DECAYS), CHUNK, width),
                              self.before[:, :, None], carried)
            found.append(z)
            # The last step once more: a slice of z would cost a gradient of its size.
            carried = (self.last @ part)[:, :, None] + self.before[:, -1:, None] * carried
        return torch.cat(found, dim=2)

    def loss(self, items, users, steps, row_of_target, targets, negatives, log_weight):
        """Summed loss of targets (n), whose states are rows (users, steps) of a batch's events (users, steps)."""
        z = self.sums(self.inputs(items))[users, :, steps]
        with torch.no_grad():
            counts = self.sums(torch.ones(1, items.shape[1], 1))[0, :, steps, 0].T
        states = self.start + (z * self.gates / counts.sqrt()[:, :, None]).sum(1)
        states = torch.nn.functional.dropout(states, DROPOUT)
        against = states @ self.outputs(negatives).T + self.biases(negatives).T + log_weight
        own = (states[row_of_target] * self.outputs(targets)).sum(1) + self.biases(targets)[:, 0]
        rest = torch.logsumexp(against, 1)[row_of_target]
        place = torch.searchsorted(negatives, targets).clamp(max=len(negatives) - 1)
        hit = negatives[place] == targets
        masked = torch.exp(against[row_of_target[hit], place[hit]] - rest[hit]).clamp(max=1 - 1e-6)
        rest = rest.index_put((hit.nonzero()[:, 0],), rest[hit] + torch.log1p(-masked))
        return (torch.logaddexp(own, rest) - own).sum()


def generated(rng, users, events, items):
    """Users with tastes for one of fifty topics; popular items come first: items (users, events)."""
    place = (items * rng.random((users, events)) ** 3).astype(np.int64)
    topic = np.where(rng.integers(3, size=place.shape) == 0, rng.integers(TOPICS, size=place.shape),
                     np.arange(users)[:, None] % TOPICS)
    return torch.from_numpy(np.minimum(place // TOPICS * TOPICS + topic, items - 1))


def epoch(towers, optimizer, data, rng):
    """One pass over all users; gives (operations counted, mean loss)."""
    users, events = data.shape
    items = towers.inputs.num_embeddings
    order = rng.permutation(users)
    batch = max(4, -(-ROWS_PER_BATCH // (events - 1)))
    operations, total = 0.0, 0.0
    log_weight = float(np.log((items - 1) / NEGATIVES))
    for at in range(0, users, batch):
        chosen = data[order[at:at + batch]]
        # The k-th event is predicted from the state after a random earlier one; equal states share a row.
        state = (rng.random((len(chosen), events - 1)) * np.arange(1, events)).astype(np.int64)
        flat = (np.arange(len(chosen))[:, None] * events + state).reshape(-1)
        rows, row_of_target = np.unique(flat, return_inverse=True)
        negatives = torch.from_numpy(np.sort(rng.choice(items, NEGATIVES, replace=False)))
        optimizer.zero_grad(set_to_none=True)
        loss = towers.loss(chosen, torch.from_numpy(rows // events), torch.from_numpy(rows % events),
                           torch.from_numpy(row_of_target), chosen[:, 1:].reshape(-1), negatives, log_weight)
        (loss / TARGETS_REFERENCE).backward()
        optimizer.step()
        operations += 6.0 * len(rows) * NEGATIVES * towers.inputs.embedding_dim
        total += float(loss.detach())
    return operations, total / (users * (events - 1))


def main():
    users, events, items, dimension = map(int, sys.argv[1:])
    torch.set_num_threads(1)
    torch.manual_seed(1)
    rng = np.random.default_rng(1)
    data = generated(rng, users, events, items)
    towers = Towers(items, dimension)
    optimizer = torch.optim.Adagrad(towers.parameters(), lr=RATE, initial_accumulator_value=SQUARES_START, eps=0)
    phases = Phases()
    with phases.time("epoch"):
        operations, loss = epoch(towers, optimizer, data, rng)
    phases.print(operations=operations, loss=loss)


if __name__ == "__main__":
    main()
