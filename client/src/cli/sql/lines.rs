//! The line editor, on a thread of its own, so that a signal can end the program while it waits for keys.

use std::path::PathBuf;

use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Config, Editor, Helper};
use tokio::sync::{mpsc, oneshot};
use whimbrel_proto::{Error, ErrorCode};

use super::repl::Meta;
use super::statements::split;
use crate::cli::failure::Failure;

const PROMPT: &str = "whimbrel> ";
const HISTORY_LINES: usize = 1000;

type Answer = Result<Option<String>, ReadlineError>;
type LineEditor = Editor<UntilSemicolon, FileHistory>;

/// Texts that a person enters, each as long as it takes to its `;`.
pub(super) struct Lines {
    asks: mpsc::Sender<oneshot::Sender<Answer>>,
    /// Restores the terminal where the editor is left waiting.
    _mode: TerminalMode,
}

impl Lines {
    pub(super) fn start(history: Option<PathBuf>) -> Result<Self, Failure> {
        let mode = TerminalMode::save();
        let mut editor = editor(history.as_ref()).map_err(|error| {
            Error::new(
                ErrorCode::Unavailable,
                format!("cannot use the terminal: {error}"),
            )
            .with_hint("give the statement as QUERY or with -f")
        })?;
        let (asks, mut asked) = mpsc::channel::<oneshot::Sender<Answer>>(1);
        let serve = move || {
            while let Some(answer) = asked.blocking_recv() {
                // Nobody waits for it where the program is ending.
                answer.send(ask(&mut editor, history.as_ref())).ok();
            }
        };
        let thread = std::thread::Builder::new()
            .name("whimbrel-editor".to_owned())
            .spawn(serve);
        thread.map_err(|error| {
            Error::new(
                ErrorCode::Exhausted,
                format!("cannot start the line editor: {error}"),
            )
        })?;
        Ok(Self { asks, _mode: mode })
    }

    /// The next text; nothing where the person leaves.
    pub(super) async fn next(&mut self) -> Result<Option<String>, Failure> {
        let (sender, answer) = oneshot::channel();
        let broke = |error: String| {
            Error::new(
                ErrorCode::Unavailable,
                format!("cannot read from the terminal: {error}"),
            )
        };
        self.asks
            .send(sender)
            .await
            .map_err(|error| broke(error.to_string()))?;
        let answer = answer.await.map_err(|error| broke(error.to_string()))?;
        answer.map_err(|error| broke(error.to_string()).into())
    }
}

fn editor(history: Option<&PathBuf>) -> rustyline::Result<LineEditor> {
    let mut editor =
        LineEditor::with_config(Config::builder().max_history_size(HISTORY_LINES)?.build())?;
    editor.set_helper(Some(UntilSemicolon));
    if let Some(path) = history
        && let Err(error) = editor.load_history(path)
    {
        tracing::debug!(path = %path.display(), %error, "no history was read");
    }
    Ok(editor)
}

/// Asks until there is something. Ctrl-C gives up what was typed; Ctrl-D leaves.
fn ask(editor: &mut LineEditor, history: Option<&PathBuf>) -> Answer {
    loop {
        match editor.readline(PROMPT) {
            Ok(text) if text.trim().is_empty() => {}
            Ok(text) => {
                if let Err(error) = remember(editor, history, &text) {
                    // A history that cannot be kept is no reason to stop.
                    tracing::debug!(%error, "the history was not kept");
                }
                return Ok(Some(text));
            }
            Err(ReadlineError::Interrupted) => {}
            Err(ReadlineError::Eof) => return Ok(None),
            Err(error) => return Err(error),
        }
    }
}

fn remember(
    editor: &mut LineEditor,
    history: Option<&PathBuf>,
    text: &str,
) -> rustyline::Result<()> {
    editor.add_history_entry(text)?;
    match history {
        Some(path) => editor.save_history(path),
        None => Ok(()),
    }
}

/// Asks for more lines until the statement ends in `;`.
struct UntilSemicolon;

impl Validator for UntilSemicolon {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        let input = context.input();
        let whole =
            input.trim().is_empty() || Meta::parse(input).is_some() || split(input).complete;
        Ok(if whole {
            ValidationResult::Valid(None)
        } else {
            ValidationResult::Incomplete
        })
    }
}

impl Completer for UntilSemicolon {
    type Candidate = String;
}
impl Hinter for UntilSemicolon {
    type Hint = String;
}
impl Highlighter for UntilSemicolon {}
impl Helper for UntilSemicolon {}

/// How the terminal was before the editor changed it, and is again when this is dropped.
struct TerminalMode(Option<libc::termios>);

impl TerminalMode {
    fn save() -> Self {
        let mut mode = std::mem::MaybeUninit::<libc::termios>::uninit();
        // SAFETY: tcgetattr fills the whole struct where it returns 0, and only then is it read.
        let mode = unsafe {
            (libc::tcgetattr(libc::STDIN_FILENO, mode.as_mut_ptr()) == 0)
                .then(|| mode.assume_init())
        };
        Self(mode)
    }
}

impl Drop for TerminalMode {
    fn drop(&mut self) {
        if let Some(mode) = &self.0 {
            // SAFETY: the struct is one that tcgetattr filled.
            unsafe { libc::tcsetattr(libc::STDIN_FILENO, libc::TCSANOW, mode) };
        }
    }
}
