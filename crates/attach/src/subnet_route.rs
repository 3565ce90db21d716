//! The host's route to a subnet of pods.

use ipnetwork::IpNetwork;

/// The host's route to a subnet of pods on a bridge. An address of the subnet on the bridge makes
/// one; a gateway that lies outside of the subnet does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubnetRoute {
    /// The link that holds the gateway: the bridge, or a VLAN device over it.
    pub link: String,
    /// A pod's address with the length of its subnet.
    pub pod: IpNetwork,
}

impl SubnetRoute {
    /// The subnet, without host bits.
    pub fn subnet(&self) -> IpNetwork {
        IpNetwork::new(self.pod.network(), self.pod.prefix()).unwrap_or(self.pod)
    }

    /// Whether the subnet is the pod's address alone, and the route goes with the pod.
    pub fn is_of_one_pod(&self) -> bool {
        self.pod == IpNetwork::from(self.pod.ip())
    }
}
