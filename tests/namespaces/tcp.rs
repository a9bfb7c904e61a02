//! What does not speak HTTP: databases, and servers that speak first.

use weft_testkit::eventually;

use crate::http::client;
use crate::inside::inside;
use crate::mesh::Mesh;
use crate::net::{Pod, shell};

const STATEMENTS: &str = "USE proof;
CREATE TABLE proof.t (n INT, text VARCHAR(2000));
INSERT INTO proof.t SELECT seq, REPEAT('x', 1000) FROM seq_1_to_2000;
SELECT COUNT(*), SUM(LENGTH(text)) FROM proof.t;
SELECT SUBSTRING_INDEX(USER(), '@', -1);
DROP TABLE proof.t;";

async fn mariadb(mesh: &mut Mesh) {
    let folder = "/run/weft/mariadb";
    let install = format!(
        "mariadb-install-db --no-defaults --user=root --datadir={folder} --auth-root-authentication-method=normal \
         --skip-test-db --skip-name-resolve"
    );
    // Slower than any other step of these tests.
    let installed = tokio::time::timeout(
        std::time::Duration::from_secs(90),
        tokio::process::Command::new("sh").args(["-c", &install]).output(),
    );
    let installed = installed.await.expect("in time").expect("a shell");
    assert!(installed.status.success(), "{installed:?}");
    let init = format!("{folder}.sql");
    // One statement a line, as the server reads it.
    std::fs::write(
        &init,
        "CREATE DATABASE proof;\nCREATE USER proof@'%' IDENTIFIED BY 'secret';\nGRANT ALL ON proof.* TO proof@'%';\n",
    )
    .expect("a folder of our own");
    let server = mesh.server.clone();
    let mut command = server.command("mariadbd");
    command
        .args(["--no-defaults", "--user=root", "--bind-address=0.0.0.0", "--port=3306"])
        .args([
            "--extra-port=13306",
            "--extra-max-connections=20",
            "--skip-name-resolve",
        ])
        .args([format!("--datadir={folder}"), format!("--socket={folder}.sock")])
        .args([format!("--init-file={init}"), format!("--pid-file={folder}.pid")]);
    mesh.spawn("mariadb", command);
    for _ in 0..6 {
        let asked = tokio::time::timeout(std::time::Duration::from_secs(9), async {
            eventually("MariaDB answers", async || {
                let ended = ask(&server, "127.0.0.1", "3306", "SELECT 1").await;
                (ended.code == 0).then_some(())
            })
            .await;
        });
        if asked.await.is_ok() {
            return;
        }
    }
    panic!("MariaDB does not start");
}

async fn ask(pod: &Pod, host: &str, port: &str, statements: &str) -> crate::net::Ended {
    let args = [
        "--no-defaults",
        "--protocol=tcp",
        "--connect-timeout=8",
        "-uproof",
        "-psecret",
        "-N",
        "-h",
        host,
        "-P",
        port,
        "-e",
        statements,
    ];
    pod.run("mariadb", &args).await
}

#[test]
fn mariadb_is_reached_on_ports_named_and_unnamed() {
    inside(async || {
        let mut mesh = Mesh::start().await;
        mariadb(&mut mesh).await;
        // Named, unnamed on the port that is known, unnamed on one that is not: there, client and proxy both wait for a word.
        for (host, port) in [("db.shop", "3306"), ("db-plain.shop", "3306"), ("db-odd.shop", "13306")] {
            let out = ask(&mesh.client, host, port, STATEMENTS).await.good();
            assert_eq!(out, "2000\t2000000\n127.0.0.6", "{host}");
        }
    });
}

#[test]
fn redis_is_reached_on_ports_named_and_unnamed() {
    inside(async || {
        let mut mesh = Mesh::start().await;
        let server = mesh.server.clone();
        for port in ["6379", "16379"] {
            let mut command = server.command("redis-server");
            command.args([
                "--port",
                port,
                "--bind",
                "0.0.0.0",
                "--protected-mode",
                "no",
                "--save",
                "",
            ]);
            mesh.spawn(&format!("redis-{port}"), command);
            eventually("Redis answers", async || {
                let ended = server.run("redis-cli", &["-p", port, "ping"]).await;
                (ended.out == "PONG").then_some(())
            })
            .await;
        }
        for (host, port) in [("cache.shop", "6379"), ("cache-plain.shop", "16379")] {
            let at = ["-h", host, "-p", port];
            let run = async |args: &[&str]| mesh.client.run("redis-cli", &[&at, args].concat()).await.good();
            assert_eq!(run(&["set", "key", "value"]).await, "OK", "{host}");
            assert_eq!(run(&["get", "key"]).await, "value", "{host}");
            // A thousand commands at once on one connection.
            let pipe = format!(
                "seq 1000 | sed 's/^/incr counter # /; s/ #.*//' | nsenter --net=/run/netns/client redis-cli -h {host} -p \
                 {port} --pipe | grep -q 'errors: 0, replies: 1000'"
            );
            shell(&pipe).await;
            assert_eq!(run(&["get", "counter"]).await, "1000", "{host}");
            assert!(run(&["client", "list"]).await.contains("addr=127.0.0.6:"), "{host}");
        }
    });
}

#[test]
fn a_server_that_speaks_first_is_not_left_waiting_on_an_unnamed_port() {
    inside(async || {
        let mut mesh = Mesh::start().await;
        let server = mesh.server.clone();
        mesh.serve(&server, "servers.py", &["greet:7000"]).await;
        let greeting = client(&mesh.client, "tcp", "greeter.shop", "7000").await;
        assert_eq!(greeting, "hello 127.0.0.6");
    });
}
