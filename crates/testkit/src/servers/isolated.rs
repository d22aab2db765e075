//! A place of its own for each test, on the servers all tests share.
//!
//! Left-overs do no harm: names are unique and the servers' directory goes away with them.

use domain::BackendUrl;
use mongodb::bson::oid::ObjectId;
use sqlx::{Connection, MySqlConnection};

use super::environment::{AMQP_MANAGEMENT_URL, AMQP_URL, MONGODB_URL, MYSQL_URL, required};
use super::management::ManagementApi;

/// A fresh, empty MySQL database.
#[derive(Debug)]
pub struct TestDatabase {
    /// `mysql://root@127.0.0.1:PORT/NAME`.
    pub url: BackendUrl,
    server: String,
    name: String,
}

/// A MongoDB server, and the prefix for the names of this test's databases.
#[derive(Debug)]
pub struct TestMongo {
    /// The server, without a database.
    pub url: BackendUrl,
    /// What the names of this test's databases begin with.
    pub prefix: String,
}

/// A fresh RabbitMQ virtual host.
pub struct TestVhost {
    /// `amqp://mp3:SECRET@127.0.0.1:PORT/NAME`.
    pub url: BackendUrl,
    /// The management API, looking at this virtual host.
    pub management: ManagementApi,
}

/// Creates a database for one test.
///
/// # Panics
///
/// Without `TEST_MYSQL_URL`, or when the server refuses.
pub async fn mysql_database() -> TestDatabase {
    let server = required(MYSQL_URL);
    let name = unique_name("test");
    run_sql(&server, format!("CREATE DATABASE {name}"))
        .await
        .unwrap_or_else(|error| panic!("cannot create a test database: {error:#}"));
    let url = format!("{}/{name}", server.trim_end_matches('/'));
    TestDatabase {
        url: parsed(&url),
        server,
        name,
    }
}

impl TestDatabase {
    /// The database's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Drops the database with all that is in it.
    pub async fn drop_database(&self) -> anyhow::Result<()> {
        run_sql(&self.server, format!("DROP DATABASE IF EXISTS {}", self.name)).await
    }
}

/// A MongoDB server and a unique prefix for database names.
///
/// # Panics
///
/// Without `TEST_MONGODB_URL`.
pub async fn mongodb() -> TestMongo {
    TestMongo {
        url: parsed(&required(MONGODB_URL)),
        prefix: unique_name("test"),
    }
}

impl TestMongo {
    /// Drops every database whose name begins with the prefix.
    pub async fn drop_databases(&self) -> anyhow::Result<()> {
        let client = mongodb::Client::with_uri_str(self.url.expose()).await?;
        for name in client.list_database_names().await? {
            if name.starts_with(&self.prefix) {
                client.database(&name).drop().await?;
            }
        }
        client.shutdown().await;
        Ok(())
    }
}

/// Creates a virtual host for one test.
///
/// # Panics
///
/// Without `TEST_AMQP_URL` and `TEST_AMQP_MANAGEMENT_URL`, or when the broker refuses.
pub async fn amqp_vhost() -> TestVhost {
    let name = unique_name("test");
    let url = format!("{}/{name}", required(AMQP_URL).trim_end_matches('/'));
    let management = ManagementApi::new(&required(AMQP_MANAGEMENT_URL), &name)
        .unwrap_or_else(|error| panic!("{AMQP_MANAGEMENT_URL} is wrong: {error:#}"));
    management
        .create_vhost()
        .await
        .unwrap_or_else(|error| panic!("cannot create a test vhost: {error:#}"));
    TestVhost {
        url: parsed(&url),
        management,
    }
}

impl TestVhost {
    /// Deletes the virtual host; its connections are closed by the broker.
    pub async fn delete(&self) -> anyhow::Result<()> {
        self.management.delete_vhost().await
    }
}

/// A name nobody used before, of lower-case letters, digits and underscores.
pub fn unique_name(prefix: &str) -> String {
    format!("{prefix}_{}", ObjectId::new().to_hex())
}

async fn run_sql(server: &str, statement: String) -> anyhow::Result<()> {
    let mut connection = MySqlConnection::connect(server).await?;
    sqlx::raw_sql(sqlx::AssertSqlSafe(statement))
        .execute(&mut connection)
        .await?;
    connection.close().await?;
    Ok(())
}

fn parsed(url: &str) -> BackendUrl {
    url.parse()
        .unwrap_or_else(|error| panic!("the URL of a test server is wrong: {error}"))
}
