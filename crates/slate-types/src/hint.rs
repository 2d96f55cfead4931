//! Advice that goes beside an error, never inside its message.

/// What a person can do about an error.
///
/// The message says what is wrong; the hint says what to try. The program prints it on a line of
/// its own after the chain of causes.
pub trait Hint {
    /// One sentence of advice, or none where there is nothing useful to say.
    fn hint(&self) -> Option<String>;
}
