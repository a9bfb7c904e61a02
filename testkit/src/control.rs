//! in → out: files in a folder of its own → a running control plane, in this process, on a thread of its own.
//! owns: the folder, the start and the stop.
//! may not touch: how it reads.

use std::{fs, net::SocketAddr, path::PathBuf, sync::mpsc, thread::JoinHandle};

use tempfile::TempDir;
use tokio::sync::oneshot;
use weft_control::{
    app,
    bootstrap::{Args, Bootstrap},
};

use crate::eventually::DEADLINE;

/// A running control plane over a folder; dropping it stops it and removes the folder.
#[derive(Debug)]
pub struct Control {
    folder: TempDir,
    xds: SocketAddr,
    admin: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Control {
    /// Writes these files (name and content) and starts a control plane over them.
    ///
    /// # Panics
    /// Where it does not start.
    pub fn start(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        for (name, text) in files {
            fs::write(folder.path().join(name), text).expect("the folder is writable");
        }
        let any: SocketAddr = "127.0.0.1:0".parse().expect("a literal address");
        let args = Args {
            config: folder.path().to_owned(),
            state_dir: None,
            xds: any,
            admin: any,
        };
        let bootstrap = Bootstrap::resolve(args).expect("a test asks for what can be");
        let (sender, started) = mpsc::channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async {
                let control = app::Control::start(bootstrap).await.expect("a control plane starts");
                sender
                    .send((control.xds, control.admin))
                    .expect("the test waits for it");
                // An error means that the test has ended without a word, which is as good.
                let _ = stopped.await;
            });
        });
        let (xds, admin) = started.recv_timeout(DEADLINE).expect("the control plane starts");
        Control {
            folder,
            xds,
            admin,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// Where it serves proxies.
    pub fn xds(&self) -> SocketAddr {
        self.xds
    }

    /// Where it answers operators.
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// A file of its folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Replaces a file as `mv` does: atomically.
    pub fn replace(&self, name: &str, text: &str) {
        let fresh = self.folder.path().join(format!(".{name}.new"));
        fs::write(&fresh, text).expect("the folder is writable");
        fs::rename(&fresh, self.path(name)).expect("a file can be renamed");
    }

    /// Writes into a file as `cat >` does: it is empty in between.
    pub fn overwrite(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("the folder is writable");
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // A control plane that has ended by itself has printed why.
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
