//! Where the API server is, and who this program is to it.

use crate::client::Client;
use crate::fault::{Fault, chain};
use kube::Config;
use kube::config::{KubeConfigOptions, Kubeconfig};
use std::path::PathBuf;

/// Where the API server is, and who this program is to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// As a pod has it: the API server's address in the environment, token and certificate authority
    /// mounted.
    InCluster,
    /// As this kubeconfig has it: the cluster and the user of its current context.
    Kubeconfig(PathBuf),
}

impl Access {
    /// A client that has read certificates, and a kubeconfig, as they are now. A mounted token it
    /// reads again each minute.
    ///
    /// # Errors
    /// Something of it is missing or broken. Nothing is asked of the API server yet.
    pub async fn client(&self) -> Result<Client, Fault> {
        let config = self.config().await.map_err(Fault::no_access)?;
        Client::new(&config).map_err(|error| {
            let why =
                format!("the credentials for the API server are not usable: {}", chain(&error));
            Fault::no_access(format!("{why}; {}", self.remedy()))
        })
    }

    async fn config(&self) -> Result<Config, String> {
        match self {
            Access::InCluster if std::env::var_os("KUBERNETES_SERVICE_HOST").is_none() => Err(
                "KUBERNETES_SERVICE_HOST is not set, so this is no pod of a cluster: run it in \
                     one, or name a kubeconfig"
                    .to_owned(),
            ),
            Access::InCluster => Config::incluster_env().map_err(|error| {
                let why = format!("the service account is not mounted whole: {}", chain(&error));
                format!("{why}; {}", self.remedy())
            }),
            Access::Kubeconfig(path) => {
                let failed = |error| format!("{}: {}", path.display(), chain(&error));
                let kubeconfig = Kubeconfig::read_from(path).map_err(failed)?;
                let options = KubeConfigOptions::default();
                Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(failed)
            }
        }
    }

    fn remedy(&self) -> &'static str {
        match self {
            Access::InCluster => {
                "see that the pod has a serviceAccountName and no automountServiceAccountToken: false"
            }
            Access::Kubeconfig(_) => "correct the kubeconfig: kubectl --kubeconfig FILE get nodes",
        }
    }
}
