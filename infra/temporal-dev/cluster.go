package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	enums "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/server/common/cluster"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/membership/static"
	"go.temporal.io/server/common/metrics"
	sqliteplugin "go.temporal.io/server/common/persistence/sql/sqlplugin/sqlite"
	"go.temporal.io/server/common/primitives"
	"go.temporal.io/server/schema/sqlite"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/durationpb"
)

const (
	loopback    = "127.0.0.1"
	clusterName = "active"
	// Closed runs stay visible this long in namespaces that this program makes.
	retention = 30 * 24 * time.Hour
)

// serverConfig is a cluster of one node: all four services in this process, one history shard, one SQLite database.
func serverConfig(o *options) (*config.Config, error) {
	store := &config.SQL{PluginName: sqliteplugin.PluginName, DatabaseName: o.dbFile}
	if o.dbFile == "" {
		store.DatabaseName = "temporal-dev"
		store.ConnectAttributes = map[string]string{"mode": "memory", "cache": "shared"}
	} else {
		// WAL with full synchronisation: what was acknowledged is still there after kill -9.
		store.ConnectAttributes = map[string]string{"mode": "rw", "journal_mode": "wal", "synchronous": "2"}
	}
	ports, err := freePorts(7)
	if err != nil {
		return nil, err
	}
	service := func(grpcPort, membershipPort int) config.Service {
		return config.Service{RPC: config.RPC{GRPCPort: grpcPort, MembershipPort: membershipPort, BindOnLocalHost: true}}
	}
	cfg := &config.Config{
		Persistence: config.Persistence{
			DefaultStore:     "sqlite",
			VisibilityStore:  "sqlite",
			NumHistoryShards: 1,
			DataStores:       map[string]config.DataStore{"sqlite": {SQL: store}},
		},
		ClusterMetadata: &cluster.Config{
			FailoverVersionIncrement: 10,
			MasterClusterName:        clusterName,
			CurrentClusterName:       clusterName,
			ClusterInformation: map[string]cluster.ClusterInformation{clusterName: {
				Enabled:                true,
				InitialFailoverVersion: 1,
				RPCAddress:             fmt.Sprintf("%s:%d", loopback, o.port),
			}},
		},
		DCRedirectionPolicy: config.DCRedirectionPolicy{Policy: "noop"},
		Services: map[string]config.Service{
			"frontend": {RPC: config.RPC{GRPCPort: o.port, MembershipPort: ports[0], HTTPPort: o.httpPort, BindOnIP: o.ip}},
			"history":  service(ports[1], ports[2]),
			"matching": service(ports[3], ports[4]),
			"worker":   service(ports[5], ports[6]),
		},
		PublicClient: config.PublicClient{HostPort: fmt.Sprintf("%s:%d", dialHost(o.ip), o.port)},
		Archival: config.Archival{
			History:    config.HistoryArchival{State: "disabled"},
			Visibility: config.VisibilityArchival{State: "disabled"},
		},
		NamespaceDefaults: config.NamespaceDefaults{Archival: config.ArchivalNamespaceDefaults{
			History:    config.HistoryArchivalNamespaceDefaults{State: "disabled"},
			Visibility: config.VisibilityArchivalNamespaceDefaults{State: "disabled"},
		}},
	}
	cfg.Global.Membership = config.Membership{MaxJoinDuration: 30 * time.Second, BroadcastAddress: loopback}
	if o.metricsPort != 0 {
		cfg.Global.Metrics = &metrics.Config{Prometheus: &metrics.PrometheusConfig{
			ListenAddress: fmt.Sprintf("%s:%d", o.ip, o.metricsPort),
			HandlerPath:   "/metrics",
		}}
	}
	return cfg, nil
}

// staticHosts names this process as the only host of every service. Without it each start joins the hosts that the database remembers, and
// after kill -9 waits for dead ones.
func staticHosts(cfg *config.Config) map[primitives.ServiceName]static.Hosts {
	hosts := map[primitives.ServiceName]static.Hosts{}
	for name, service := range cfg.Services {
		ip := service.RPC.BindOnIP
		if ip == "" {
			ip = loopback
		}
		hosts[primitives.ServiceName(name)] = static.SingleLocalHost(fmt.Sprintf("%s:%d", dialHost(ip), service.RPC.GRPCPort))
	}
	return hosts
}

// prepareDatabase makes the schema where it is missing, and the namespaces. A new file is written beside its place and renamed, so a
// process killed on its way leaves no half schema.
func prepareDatabase(o *options, cfg *config.Config) error {
	store := cfg.Persistence.DataStores["sqlite"].SQL
	if o.dbFile != "" {
		if _, err := os.Stat(o.dbFile); os.IsNotExist(err) {
			if err := os.MkdirAll(filepath.Dir(o.dbFile), 0o700); err != nil {
				return err
			}
			draft := fmt.Sprintf("%s.new-%d", o.dbFile, os.Getpid())
			plain := &config.SQL{PluginName: store.PluginName, DatabaseName: draft, ConnectAttributes: map[string]string{"mode": "rwc"}}
			defer os.Remove(draft)
			if err := sqlite.SetupSchema(plain); err != nil {
				return fmt.Errorf("cannot make the schema in %s: %w", draft, err)
			}
			if err := os.Rename(draft, o.dbFile); err != nil {
				return err
			}
		}
	}
	var namespaces []*sqlite.NamespaceConfig
	for _, name := range o.allNamespaces() {
		namespace, err := sqlite.NewNamespaceConfig(clusterName, name, false, o.searchAttributes)
		if err != nil {
			return fmt.Errorf("namespace %q: %w", name, err)
		}
		namespace.Detail.Config.Retention = durationpb.New(retention)
		namespaces = append(namespaces, namespace)
	}
	return sqlite.CreateNamespaces(store, namespaces...)
}

// addSearchAttributes registers what a namespace made by an earlier start does not have yet. It also is the proof that the server answers.
func addSearchAttributes(frontend string, o *options) error {
	connection, err := grpc.NewClient("passthrough:///"+frontend, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer connection.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	operator := operatorservice.NewOperatorServiceClient(connection)
	for _, name := range o.allNamespaces() {
		known, err := operator.ListSearchAttributes(ctx, &operatorservice.ListSearchAttributesRequest{Namespace: name}, grpc.WaitForReady(true))
		if err != nil {
			return fmt.Errorf("the server does not answer on %s: %w", frontend, err)
		}
		missing := map[string]enums.IndexedValueType{}
		for attribute, kind := range o.searchAttributes {
			if have, found := known.CustomAttributes[attribute]; !found {
				missing[attribute] = kind
			} else if have != kind {
				return fmt.Errorf("search attribute %s is %s in this database, not %s: use another --db-filename", attribute, have, kind)
			}
		}
		if len(missing) == 0 {
			continue
		}
		request := &operatorservice.AddSearchAttributesRequest{Namespace: name, SearchAttributes: missing}
		if _, err := operator.AddSearchAttributes(ctx, request); err != nil {
			return fmt.Errorf("cannot register search attributes in %s: %w", name, err)
		}
	}
	return nil
}

// allNamespaces is "default" and every --namespace, each once.
func (o *options) allNamespaces() []string {
	all := []string{"default"}
	for _, name := range o.namespaces {
		if name != "" && name != "default" {
			all = append(all, name)
		}
	}
	return all
}

// dialHost is where a client on this machine reaches a listener bound to ip.
func dialHost(ip string) string {
	if parsed := net.ParseIP(ip); parsed != nil && parsed.IsUnspecified() {
		return loopback
	}
	return ip
}

// freePorts asks the system for n ports at once, so that no two are the same.
func freePorts(n int) ([]int, error) {
	var ports []int
	for range n {
		listener, err := net.Listen("tcp", loopback+":0")
		if err != nil {
			return nil, err
		}
		defer listener.Close()
		ports = append(ports, listener.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}
