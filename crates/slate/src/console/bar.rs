//! Progress bars on stderr: rate, count and time left; nothing where there is no terminal.

use std::fmt::Write;
use std::sync::Mutex;
use std::time::Duration;

use indicatif::{
    FormattedDuration, HumanCount, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle,
};
use slate_types::Progress;

/// One bar at a time; a new stage replaces the last.
pub(crate) struct Bar {
    visible: bool,
    current: Mutex<Option<ProgressBar>>,
}

impl Bar {
    pub(super) fn new(visible: bool) -> Self {
        Self {
            visible,
            current: Mutex::new(None),
        }
    }

    fn with(&self, act: impl FnOnce(&ProgressBar)) {
        if let Some(bar) = self
            .current
            .lock()
            .expect("no thread panics while it holds the bar")
            .as_ref()
        {
            act(bar);
        }
    }
}

impl Progress for Bar {
    fn begin(&self, stage: &str, total: Option<u64>, unit: &str) {
        self.end();
        if !self.visible {
            return;
        }
        let template = match total {
            Some(_) => "{prefix:<17} {bar:24} {human_pos}/{human_len} {unit}  {rate}  {msg}",
            None => "{prefix:<17} {spinner} {elapsed}  {msg}",
        };
        let unit = unit.to_owned();
        let per_second = format!("{unit}/s");
        let style = ProgressStyle::with_template(template)
            .expect("the template is one of the two above, both valid")
            .with_key("unit", move |_: &ProgressState, out: &mut dyn Write| {
                let _ = out.write_str(&unit);
            })
            .with_key("rate", move |state: &ProgressState, out: &mut dyn Write| {
                // Nothing done yet says nothing about what is left.
                if state.pos() > 0 {
                    let rate = HumanCount(state.per_sec().round() as u64);
                    let left = FormattedDuration(state.eta());
                    let _ = write!(out, "{rate} {per_second}  {left} left");
                }
            });
        // The stderr target draws nothing where stderr is no terminal.
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr_with_hz(8));
        bar.set_style(style);
        bar.set_prefix(stage.to_owned());
        bar.enable_steady_tick(Duration::from_millis(200));
        *self
            .current
            .lock()
            .expect("no thread panics while it holds the bar") = Some(bar);
    }

    fn advance(&self, by: u64) {
        self.with(|bar| bar.inc(by));
    }

    fn note(&self, text: &str) {
        self.with(|bar| bar.set_message(text.to_owned()));
    }

    fn end(&self) {
        let ended = self
            .current
            .lock()
            .expect("no thread panics while it holds the bar")
            .take();
        if let Some(bar) = ended {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.end();
    }
}
