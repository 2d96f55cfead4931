# Names for the cargo lines of README.md and .ci/run; no logic lives here.

# Run the whole chain on a simulated marketplace.
demo:
    cargo run --release -- demo

# Run every test.
test:
    cargo test --workspace

# Run the tests of clusters, with real nodes on this machine.
test-cluster:
    cargo test -p slate -p slate-logs --features slate/cluster,slate-logs/cluster cluster

# Hold training on a graphics device to the processor; SLATE_TEST_DEVICE names another than gpu:0.
test-cards:
    cargo test -p slate-model --features gpu --lib train::card_tests

# Keep the walls and the habits.
tidy:
    cargo test -p slate-types --test tidy

# Lint as CI does.
lint:
    cargo clippy --workspace --features slate/cluster,slate-logs/cluster --all-targets -- -D warnings

# Format.
format:
    cargo fmt --all

# All that CI does.
ci:
    .ci/run
