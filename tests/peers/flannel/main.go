// What counts of flannel's daemon on a node of Kubernetes: its own packages of nodes and backends, without
// its main, whose other backends need SDKs of clouds.
package main

import (
	"context"
	"flag"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/flannel-io/flannel/pkg/backend"
	_ "github.com/flannel-io/flannel/pkg/backend/hostgw"
	_ "github.com/flannel-io/flannel/pkg/backend/vxlan"
	"github.com/flannel-io/flannel/pkg/ipmatch"
	"github.com/flannel-io/flannel/pkg/subnet/kube"
	log "k8s.io/klog/v2"
)

func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}

func main() {
	server := flag.String("kube-api-url", "", "the API server, if there is no kubeconfig")
	kubeconfig := flag.String("kubeconfig-file", "", "a kubeconfig")
	network := flag.String("net-config-path", "/etc/kube-flannel/net-conf.json", "net-conf.json")
	address := flag.String("iface", "", "the node's address or link")
	subnets := flag.String("subnet-file", "/run/flannel/subnet.env", "what the plugin reads")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	const prefix = "flannel.alpha.coreos.com"
	manager := must(kube.NewSubnetManager(ctx, *server, *kubeconfig, prefix, *network, true))
	config := must(manager.GetNetworkConfig(ctx))
	stack := must(ipmatch.GetIPFamily(config.EnableIPv4, config.EnableIPv6))
	iface := must(ipmatch.LookupExtIface(*address, "", "", stack, ipmatch.PublicIPOpts{}))
	chosen := must(backend.NewManager(ctx, manager, iface).GetBackend(config.BackendType))
	var group sync.WaitGroup
	running := must(chosen.RegisterNetwork(ctx, &group, config))
	lease := running.Lease()
	must(0, manager.HandleSubnetFile(*subnets, config, true, lease.Subnet, lease.IPv6Subnet, running.MTU()))
	must(0, manager.CompleteLease(ctx, lease, &group))
	running.Run(ctx)
}
