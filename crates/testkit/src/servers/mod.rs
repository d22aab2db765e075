//! Real servers: launchers for MariaDB, RabbitMQ and MongoDB, and for each test a place of its own on them.
//!
//! A test asks for [`mysql_database`], [`mongodb`] or [`amqp_vhost`]; these find running servers through
//! `TEST_MYSQL_URL`, `TEST_MONGODB_URL`, `TEST_AMQP_URL` and `TEST_AMQP_MANAGEMENT_URL`, which the program
//! `with-servers` sets. A test that kills, freezes or restarts a server starts one of its own with [`MariaDb::start`],
//! [`RabbitMq::start`] or [`MongoDb::start`].
//!
//! Every server listens on 127.0.0.1, on a free port outside the kernel's ephemeral range (so that a client can never
//! take the port of a server that is down), keeps everything in the directory it was given, and dies with its owner.

mod environment;
mod isolated;
mod management;
mod mariadb;
mod mongodb;
mod mongodb_set;
mod ports;
mod process;
mod rabbitmq;
mod random;
mod running;

pub use environment::{AMQP_MANAGEMENT_URL, AMQP_URL, MONGODB_URL, MYSQL_URL, given, workspace_root};
pub use isolated::{TestDatabase, TestMongo, TestVhost, amqp_vhost, mongodb, mysql_database, unique_name};
pub use management::{ManagementApi, QueueState, ReceivedMessage};
pub use mariadb::{MariaDb, MariaDbHome};
pub use mongodb::{MongoDb, MongoDbHome};
pub use mongodb_set::MongoDbSet;
pub use ports::{free_port, free_ports};
pub use process::{ServerProcess, Signal};
pub use rabbitmq::{RabbitMq, RabbitMqHome};
pub use random::random_hexadecimal;
pub use running::{Home, Running};
