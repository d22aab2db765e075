//! One upload, from its first byte to its commit.
//!
//! ```text
//! JobStore.create (receiving, leased) -> BlobStore.put, bytes as they arrive -> finish -> JobStore.commit_upload
//!     -> only now success, and the announcement on the queue
//! ```
//!
//! An upload runs in a task of its own: a client that goes away ends its request, but must not cancel a store's call
//! half-way. Whatever stops an upload before the commit, nothing of it stays: the blob is aborted and the record says
//! `upload_interrupted`, and what was wrong with it if that is why. What a crash leaves behind is found by its lapsed
//! lease ([`crate::lapsed`]).

mod comparing;
mod form;
mod source;
mod storing;

use axum::body::Body;
use domain::{Address, IdempotencyKey, InvalidOption, Job, KeyedUpload, PortError, Reason, ReasonCode};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::GatewayState;
use crate::multipart::{Boundary, Event, Malformed, Parser, PartHead};
use crate::space::Reservation;
use comparing::Comparing;
pub(crate) use form::MAX_VALUE_BYTES;
use form::{Field, Form};
use source::Source;
use storing::Storing;

/// An upload that may begin: whose it is and how its body is divided.
pub(crate) struct Upload {
    pub(crate) owner: Address,
    pub(crate) name: Name,
    pub(crate) boundary: Boundary,
    pub(crate) body: Body,
    /// The room that is kept for it; None when nothing of it is to be stored.
    pub(crate) space: Option<Reservation>,
}

/// What its client calls an upload.
pub(crate) enum Name {
    /// Nothing.
    None,
    /// This, and nothing before had the name.
    New(IdempotencyKey),
    /// What this one was called: it is sent again, or something else under its name.
    Of(Box<KeyedUpload>),
}

/// An upload that is safe.
#[derive(Debug)]
pub(crate) struct Accepted {
    /// Its record as of the commit.
    pub(crate) job: Job,
    /// The names of text fields that are no options.
    pub(crate) ignored: Vec<String>,
    /// The job is that of an earlier upload.
    pub(crate) is_repetition: bool,
}

/// Why there is no job. Nothing of the upload is left, or will be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UploadError {
    /// No file, or a second one.
    #[error("exactly 1 file required")]
    NotOneFile,
    /// Not multipart as it should be.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// An option's value cannot be used.
    #[error(transparent)]
    Option(#[from] InvalidOption),
    /// More bytes than so many.
    #[error("an upload may have at most {0} bytes")]
    TooLarge(u64),
    /// The bytes came too slowly.
    #[error("the upload stalled")]
    Stalled,
    /// The body broke off.
    #[error("the client went away")]
    ClientGone(#[source] axum::Error),
    /// The gateway stops, and the upload would not have ended in time.
    #[error("the gateway is stopping")]
    Stopping,
    /// Somebody else gave the upload up, since this process did not renew its lease in time.
    #[error("the upload was given up meanwhile")]
    GivenUp,
    /// The upload that its key names has not ended.
    #[error("the upload of this key is being received")]
    KeyInUse,
    /// Its key names an upload of another file, or with other options.
    #[error("the key belongs to another upload")]
    KeyOfAnother,
    /// A store failed.
    #[error("cannot store the upload")]
    Store(#[source] PortError),
    /// The task that held the upload panicked.
    #[error("the upload's task failed")]
    Panicked,
}

impl UploadError {
    /// Why the upload's job has no MP3.
    fn reason(&self) -> Reason {
        match self {
            Self::NotOneFile | Self::Malformed(_) | Self::Option(_) | Self::TooLarge(_) => Reason {
                code: ReasonCode::UploadInterrupted,
                message: format!("The upload was refused: {self}. Please correct that and upload the file again."),
            },
            Self::ClientGone(_)
            | Self::Stalled
            | Self::Stopping
            | Self::GivenUp
            | Self::KeyInUse
            | Self::KeyOfAnother
            | Self::Store(_)
            | Self::Panicked => interrupted(),
        }
    }
}

/// Why an upload without an end has no MP3.
pub(crate) fn interrupted() -> Reason {
    Reason {
        code: ReasonCode::UploadInterrupted,
        message: "The upload stopped before its end. Please upload the file again.".to_owned(),
    }
}

/// Takes an upload to its commit and has it announced. Dropping the future does not stop it.
pub(crate) async fn receive(state: &GatewayState, upload: Upload) -> Result<Accepted, UploadError> {
    let (tell, told) = oneshot::channel();
    let reception = Reception::new(state.clone(), upload.owner, upload.name, upload.space);
    let span = tracing::error_span!("upload", job.id = tracing::field::Empty);
    let task = async move {
        let outcome = reception.run(&upload.boundary, upload.body).await;
        if let Err(Err(error)) = tell.send(outcome) {
            let error = domain::Chain(&error).to_string();
            tracing::info!(error, "an upload ended and nobody was left to hear it");
        }
    };
    state.life.spawn(task.instrument(span));
    told.await.unwrap_or(Err(UploadError::Panicked))
}

/// An upload whose parts arrive.
struct Reception {
    state: GatewayState,
    owner: Address,
    name: Name,
    space: Option<Reservation>,
    given_up: CancellationToken,
    form: Form,
    field: Field,
    file: Option<File>,
}

/// The file of an upload, on its way to where it is kept, or not.
enum File {
    Stored(Storing),
    Compared(Comparing),
}

impl Reception {
    fn new(state: GatewayState, owner: Address, name: Name, space: Option<Reservation>) -> Self {
        Self {
            state,
            owner,
            name,
            space,
            given_up: CancellationToken::new(),
            form: Form::default(),
            field: Field::Ignored,
            file: None,
        }
    }

    async fn run(mut self, boundary: &Boundary, body: Body) -> Result<Accepted, UploadError> {
        let source = Source::new(&self.state.settings, &self.state.life, body, self.given_up.clone());
        let read = self.read(source, Parser::new(boundary)).await;
        let options = read.and_then(|()| Ok(self.form.options()?));
        let ignored = self.form.ignored;
        match (options, self.file) {
            (Ok(options), Some(File::Stored(storing))) => {
                let job = storing.commit(options).await?;
                self.state.announcer().announce(job.clone());
                Ok(Accepted {
                    job,
                    ignored,
                    is_repetition: false,
                })
            }
            (Ok(options), Some(File::Compared(comparing))) => Ok(Accepted {
                job: comparing.end(&options)?,
                ignored,
                is_repetition: true,
            }),
            (Ok(_), None) => Err(UploadError::NotOneFile),
            (Err(error), Some(File::Stored(storing))) => {
                storing.discard(error.reason()).await;
                Err(error)
            }
            (Err(error), _) => Err(error),
        }
    }

    /// Reads the body to its end, and lets go of it before anything else is done.
    async fn read(&mut self, mut source: Source, mut parser: Parser) -> Result<(), UploadError> {
        loop {
            match parser.next()? {
                Event::NeedMore => match source.next().await? {
                    Some(bytes) => parser.feed(&bytes),
                    None => parser.end_of_input(),
                },
                Event::Part(head) => self.begin_part(head).await?,
                Event::Data(bytes) => match (&mut self.field, &mut self.file) {
                    (Field::File, Some(File::Stored(storing))) => {
                        if let Some(space) = &mut self.space {
                            space.arrived(bytes.len() as u64).await.map_err(UploadError::Store)?;
                        }
                        storing.write(bytes).await?;
                    }
                    (Field::File, Some(File::Compared(comparing))) => comparing.write(&bytes),
                    (field, _) => field.append(&bytes)?,
                },
                Event::PartEnd => {
                    let field = std::mem::replace(&mut self.field, Field::Ignored);
                    if let Some(charset) = self.form.end(field) {
                        parser.assume_charset(charset);
                    }
                }
                Event::End => return Ok(()),
            }
        }
    }

    async fn begin_part(&mut self, head: PartHead) -> Result<(), UploadError> {
        let Some(filename) = head.filename else {
            self.field = self.form.begin(head.name);
            return Ok(());
        };
        if self.file.is_some() {
            return Err(UploadError::NotOneFile);
        }
        let key = match std::mem::replace(&mut self.name, Name::None) {
            Name::None => None,
            Name::New(key) => Some(key),
            Name::Of(first) => {
                self.file = Some(File::Compared(Comparing::begin(*first)));
                self.field = Field::File;
                return Ok(());
            }
        };
        let storing = Storing::begin(&self.state, &self.owner, key, &filename, self.given_up.clone()).await?;
        self.file = Some(File::Stored(storing));
        self.field = Field::File;
        Ok(())
    }
}
