//! in → out: names and addresses → network namespaces on one link, with the packets of some captured.
//! owns: devices, addresses, routes, the rules of capture.
//! may not touch: what runs in a namespace.

use std::process::{Output, Stdio};

use tokio::process::Command;
use weft_testkit::eventually::in_time;

/// The user that proxies run as; its packets are not captured on their way out.
pub(crate) const PROXY_USER: &str = "1337";
/// Address of this process on the link, where the control plane listens.
pub(crate) const HERE: &str = "10.77.0.1";

/// One network namespace: a pod, or a host outside.
#[derive(Debug, Clone)]
pub(crate) struct Pod {
    /// Name of the namespace, and of the Pod.
    pub(crate) name: &'static str,
    /// Its address.
    pub(crate) ip: &'static str,
}

/// The link itself, and names for all services.
pub(crate) async fn lay(hosts: &str) {
    let folder = "/run/weft";
    let steps = [
        "mount -t tmpfs none /run".to_owned(),
        format!("mkdir {folder}"),
        "ip link set lo up".to_owned(),
        "ip link add name switch type bridge".to_owned(),
        format!("ip address add {HERE}/16 dev switch"),
        "ip link set switch up".to_owned(),
        // Otherwise packets between the pods ask the rules of the outer machine.
        "sysctl -qw net.ipv4.ip_forward=0".to_owned(),
    ];
    for step in steps {
        shell(&step).await;
    }
    std::fs::write("/run/hosts", hosts).expect("a folder of our own");
    // Nobody answers questions about names here, and a server that asks for its own waits long for that.
    std::fs::write("/run/nsswitch", "hosts: files\n").expect("a folder of our own");
    for name in ["hosts /etc/hosts", "nsswitch /etc/nsswitch.conf"] {
        shell(&format!("mount --bind /run/{name}")).await;
    }
}

impl Pod {
    /// Adds the namespace, on the link, with everything that has no other way going there.
    pub(crate) async fn join(name: &'static str, ip: &'static str) -> Self {
        let steps = [
            format!("ip netns add {name}"),
            format!("ip link add {name} type veth peer name eth0 netns {name}"),
            format!("ip link set {name} master switch up"),
            format!("ip -n {name} link set lo up"),
            format!("ip -n {name} address add {ip}/32 dev eth0"),
            format!("ip -n {name} link set eth0 up"),
            format!("ip -n {name} route add default dev eth0 src {ip}"),
            format!("ip route add {ip}/32 dev switch"),
        ];
        for step in steps {
            shell(&step).await;
        }
        Pod { name, ip }
    }

    /// Sends what applications send to 15001 and what arrives for them to 15006.
    pub(crate) async fn capture(&self) {
        let file = format!("/run/weft/{}.nft", self.name);
        std::fs::write(&file, capture_rules()).expect("a folder of our own");
        shell(&format!("nsenter --net=/run/netns/{} nft -f {file}", self.name)).await;
    }

    /// A program in this pod, as the application's user.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net=/run/netns/{}", self.name))
            .arg(program)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    /// Runs a program to its end.
    pub(crate) async fn run(&self, program: &str, args: &[&str]) -> Ended {
        let output = in_time(program, self.command(program).args(args).output()).await;
        Ended::from(output.unwrap_or_else(|e| panic!("{program}: {e}")))
    }
}

/// What a program left.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Exit code; -1 for a signal.
    pub(crate) code: i32,
    /// Standard output without blanks around it.
    pub(crate) out: String,
    /// Standard error.
    pub(crate) err: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        Ended {
            code: output.status.code().unwrap_or(-1),
            out: text(&output.stdout),
            err: text(&output.stderr),
        }
    }
}

impl Ended {
    /// Standard output of a program that said it did well.
    pub(crate) fn good(self) -> String {
        assert_eq!(self.code, 0, "{}\n{}", self.out, self.err);
        self.out
    }
}

/// One command line, which must succeed.
pub(crate) async fn shell(line: &str) {
    let output = Command::new("sh").args(["-c", line]).stdin(Stdio::null()).output();
    let ended = Ended::from(in_time(line, output).await.expect("a shell"));
    assert_eq!(ended.code, 0, "{line}: {}{}", ended.out, ended.err);
}

/// As Istio's init container sets them: an application that calls itself by its own address comes in as from outside, all that
/// the proxy sends goes where it says, loopback is the application's own.
fn capture_rules() -> String {
    format!(
        "table ip weft {{
  chain output {{
    type nat hook output priority -100; policy accept;
    oifname lo ip saddr 127.0.0.6 return
    oifname lo ip daddr != 127.0.0.1 meta skuid {PROXY_USER} meta l4proto tcp redirect to :15006
    oifname lo return
    meta skuid {PROXY_USER} return
    ip daddr 127.0.0.0/8 return
    meta l4proto tcp redirect to :15001
  }}
  chain prerouting {{
    type nat hook prerouting priority dstnat; policy accept;
    tcp dport {{ 15000, 15020, 15021, 15090 }} return
    meta l4proto tcp redirect to :15006
  }}
}}
"
    )
}
