//! One session of the server, and blocking calls on it.

use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;
use tokio_postgres::types::ToSql;
use tokio_postgres::{AsyncMessage, Client, Error, Row, Socket, Statement};

use crate::store::postgres::failure::Failure;
use crate::store::postgres::tls::PrivateStream;
use crate::store::postgres::url::DatabaseUrl;

/// A parameter of a statement.
pub type Param<'a> = &'a (dyn ToSql + Sync);

/// A statement and its parameters.
pub type Call<'a> = (&'a str, &'a [Param<'a>]);

/// Statements prepared on one connection before all are forgotten. The engine has fewer: only
/// statements that are put together at run time come near it.
const MOST_PREPARED: usize = 512;

/// A message to those who listen.
#[derive(Debug, PartialEq, Eq)]
pub struct Notification {
    pub channel: String,
    pub payload: String,
}

/// A session of the server. Every call blocks, and for its limit of time at most: a call that takes
/// longer ends the connection, since a server that is stuck says nothing. A failure that ends the
/// connection leaves it [lost](Connection::is_lost): only a new one helps.
pub struct Connection {
    /// None once it is dropped. Dropping waits for no thread that resolves a name, so that an
    /// asynchronous task may drop a connection.
    runtime: Option<Runtime>,
    session: Option<Session>,
    limit: Duration,
}

struct Session {
    client: Client,
    prepared: HashMap<String, Statement>,
    wire: Wire,
}

/// The socket's side of a session.
struct Wire {
    /// None once it has ended: the requests under way end with it.
    driver: Option<Pin<Box<tokio_postgres::Connection<Socket, PrivateStream>>>>,
    notifications: VecDeque<Notification>,
    /// Why it ended: the last words of the server, or the socket's error.
    end: Option<Error>,
}

impl Connection {
    /// Connects within `limit`, which holds for each call as well.
    pub fn open(url: &DatabaseUrl, limit: Duration) -> Result<Self, Failure> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Failure::lost(error.into()))?;
        let connected = runtime.block_on(async {
            let connecting = url.config().connect(url.tls());
            timeout(limit, connecting).await
        });
        let mut connection = Self {
            runtime: Some(runtime),
            session: None,
            limit,
        };
        let (client, driver) = connected
            .map_err(|_| Failure::silent(limit))?
            .map_err(Failure::of_connecting)?;
        connection.session = Some(Session {
            client,
            prepared: HashMap::new(),
            wire: Wire {
                driver: Some(Box::pin(driver)),
                notifications: VecDeque::new(),
                end: None,
            },
        });
        Ok(connection)
    }

    /// Sets how long a call may take.
    pub fn set_limit(&mut self, limit: Duration) {
        self.limit = limit;
    }

    /// Whether the connection is over.
    pub fn is_lost(&self) -> bool {
        let session = self.session.as_ref();
        session.is_none_or(|session| session.wire.driver.is_none())
    }

    /// The rows of a statement.
    pub fn rows(&mut self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, Failure> {
        self.call(async |session| {
            let statement = session.prepare(sql).await?;
            let rows = session.client.query(&statement, params);
            session.wire.drive(rows).await
        })
    }

    /// The first row of a statement.
    pub fn first(&mut self, sql: &str, params: &[Param<'_>]) -> Result<Option<Row>, Failure> {
        Ok(self.rows(sql, params)?.into_iter().next())
    }

    /// The only row of a statement that always has one.
    pub fn one(&mut self, sql: &str, params: &[Param<'_>]) -> Result<Row, Failure> {
        let row = self.first(sql, params)?;
        row.ok_or_else(|| Failure::unexpected("a statement had no row, expected one".to_owned()))
    }

    /// Makes a change; how many rows it changed.
    pub fn execute(&mut self, sql: &str, params: &[Param<'_>]) -> Result<u64, Failure> {
        self.call(async |session| {
            let statement = session.prepare(sql).await?;
            let changed = session.client.execute(&statement, params);
            session.wire.drive(changed).await
        })
    }

    /// Sends a statement without waiting for its answer, which nobody reads: it is made after all
    /// that were sent before.
    pub fn send(&mut self, sql: &str, params: &[Param<'_>]) -> Result<(), Failure> {
        self.call(async |session| {
            let statement = session.prepare(sql).await?;
            let made = session.client.query(&statement, params);
            session.wire.begin(made).await;
            Ok(())
        })
    }

    /// Makes statements in one transaction, and returns the rows of each. All are sent at once, so
    /// that no transaction is open while the server waits for a client. The rows stand for a
    /// transaction that was committed; a failure is that of the first statement that failed.
    pub fn transaction(&mut self, statements: &[Call<'_>]) -> Result<Vec<Vec<Row>>, Failure> {
        self.pipelined("BEGIN", statements)
    }

    /// The rows of statements that see the same snapshot of the database.
    pub fn snapshot(&mut self, statements: &[Call<'_>]) -> Result<Vec<Vec<Row>>, Failure> {
        self.pipelined(
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
            statements,
        )
    }

    /// Makes several statements without parameters, in one transaction unless they say otherwise.
    pub fn batch(&mut self, sql: &str) -> Result<(), Failure> {
        self.call(async |session| {
            let made = session.client.batch_execute(sql);
            session.wire.drive(made).await
        })
    }

    /// The notifications that came: at once if some did, else those that come within `wait`, or
    /// none. [`Connection::batch`] listens.
    pub fn notifications(&mut self, wait: Duration) -> Result<Vec<Notification>, Failure> {
        let (runtime, session) = self.parts()?;
        let wire = &mut session.wire;
        let waiting = async { timeout(wait, poll_fn(|cx| wire.poll_notified(cx))).await };
        // That nothing came is no failure.
        let _ = runtime.block_on(waiting);
        if wire.driver.is_none() {
            let failure = wire.end.take().map_or_else(Failure::closed, Failure::from);
            self.session = None;
            return Err(failure);
        }
        Ok(wire.notifications.drain(..).collect())
    }

    fn parts(&mut self) -> Result<(&Runtime, &mut Session), Failure> {
        let parts = self.runtime.as_ref().zip(self.session.as_mut());
        parts.ok_or_else(Failure::closed)
    }

    fn pipelined(
        &mut self,
        begin: &str,
        statements: &[Call<'_>],
    ) -> Result<Vec<Vec<Row>>, Failure> {
        let answers = self.call(async |session| {
            let mut prepared = Vec::with_capacity(statements.len());
            for (sql, _) in statements {
                prepared.push(session.prepare(sql).await?);
            }
            Ok(session.send_all(begin, statements, &prepared).await)
        })?;
        let made = self.judge(answers);
        if made.as_ref().is_err_and(Failure::ends_connection) {
            self.session = None;
        }
        made
    }

    /// The rows of a pipeline that began with BEGIN and ended with COMMIT, or why it failed.
    fn judge(&mut self, answers: Vec<Result<Vec<Row>, Error>>) -> Result<Vec<Vec<Row>>, Failure> {
        let mut answers = answers.into_iter();
        if let Some(Err(error)) = answers.next() {
            // Without BEGIN each statement was committed alone: it is unknown which were.
            let failure = self.explain(error);
            self.session = None;
            return Err(Failure::lost(Box::new(failure)));
        }
        let mut all = answers.collect::<Result<Vec<_>, _>>();
        if let Ok(rows) = &mut all {
            // COMMIT's.
            rows.pop();
        }
        all.map_err(|error| self.explain(error))
    }

    /// Makes a call within the limit.
    fn call<T>(
        &mut self,
        call: impl AsyncFnOnce(&mut Session) -> Result<T, Error>,
    ) -> Result<T, Failure> {
        let limit = self.limit;
        let (runtime, session) = self.parts()?;
        let made = runtime.block_on(async { timeout(limit, call(session)).await });
        let made = match made {
            Ok(made) => made.map_err(|error| self.explain(error)),
            Err(_) => Err(Failure::silent(limit)),
        };
        if made.as_ref().is_err_and(Failure::ends_connection) {
            self.session = None;
        }
        made
    }

    /// The failure of a call. If the connection ended under it, the reason is the connection's.
    fn explain(&mut self, error: Error) -> Failure {
        let end = self
            .session
            .as_mut()
            .and_then(|session| session.wire.end.take());
        Failure::from(match end {
            Some(end) if error.as_db_error().is_none() => end,
            _ => error,
        })
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Session {
    async fn prepare(&mut self, sql: &str) -> Result<Statement, Error> {
        if let Some(statement) = self.prepared.get(sql) {
            return Ok(statement.clone());
        }
        let statement = self.wire.drive(self.client.prepare(sql)).await?;
        if self.prepared.len() >= MOST_PREPARED {
            self.prepared.clear();
        }
        self.prepared.insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }

    /// Sends BEGIN, the statements and COMMIT without waiting in between; the answer to each.
    async fn send_all(
        &mut self,
        begin: &str,
        statements: &[Call<'_>],
        prepared: &[Statement],
    ) -> Vec<Result<Vec<Row>, Error>> {
        let client = &self.client;
        let simple = async |sql| client.batch_execute(sql).await.map(|()| Vec::new());
        let mut calls: Vec<Pin<Box<dyn Future<Output = _> + '_>>> = vec![Box::pin(simple(begin))];
        for (statement, (_, params)) in prepared.iter().zip(statements) {
            calls.push(Box::pin(client.query(statement, params)));
        }
        calls.push(Box::pin(simple("COMMIT")));
        self.wire.drive(in_order(calls)).await
    }
}

/// Awaits all, and polls them in their order: each sends its request when it is first polled.
async fn in_order<T>(mut calls: Vec<Pin<Box<dyn Future<Output = T> + '_>>>) -> Vec<T> {
    let mut answers: Vec<Option<T>> = calls.iter().map(|_| None).collect();
    poll_fn(|cx| {
        for (call, answer) in calls.iter_mut().zip(&mut answers) {
            if answer.is_none()
                && let Poll::Ready(found) = call.as_mut().poll(cx)
            {
                *answer = Some(found);
            }
        }
        if answers.iter().any(Option::is_none) {
            return Poll::Pending;
        }
        Poll::Ready(())
    })
    .await;
    answers.into_iter().flatten().collect()
}

impl Wire {
    /// Awaits a call while the socket is read and written.
    async fn drive<T>(&mut self, call: impl Future<Output = T>) -> T {
        let mut call = pin!(call);
        poll_fn(|cx| {
            // The first poll sends the request.
            if let Poll::Ready(answer) = call.as_mut().poll(cx) {
                return Poll::Ready(answer);
            }
            self.poll(cx);
            call.as_mut().poll(cx)
        })
        .await
    }

    /// Sends a call, as far as the socket takes it.
    async fn begin<T>(&mut self, call: impl Future<Output = T>) {
        let mut call = pin!(call);
        poll_fn(|cx| {
            let _ = call.as_mut().poll(cx);
            self.poll(cx);
            Poll::Ready(())
        })
        .await;
    }

    /// Reads and writes what can be.
    fn poll(&mut self, cx: &mut Context<'_>) {
        while let Some(driver) = &mut self.driver {
            let Poll::Ready(message) = driver.poll_message(cx) else {
                return;
            };
            match message {
                Some(Ok(AsyncMessage::Notification(told))) => {
                    self.notifications.push_back(Notification {
                        channel: told.channel().to_owned(),
                        payload: told.payload().to_owned(),
                    });
                }
                // The wait for a synchronous standby was cancelled. The change is committed here
                // and perhaps nowhere else: not what an answer stands for.
                Some(Ok(AsyncMessage::Notice(notice)))
                    if notice.routine() == Some("SyncRepWaitForLSN") =>
                {
                    self.driver = None;
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => {
                    self.end = Some(error);
                    self.driver = None;
                }
                None => self.driver = None,
            }
        }
    }

    /// Ready once there are notifications, or the connection has ended.
    fn poll_notified(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll(cx);
        let is_over = self.driver.is_none() || !self.notifications.is_empty();
        if is_over {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}
