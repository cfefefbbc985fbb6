package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tidegate/tidegate/core"
	"github.com/tidegate/tidegate/gateway"
	"github.com/tidegate/tidegate/metadata"
	"github.com/tidegate/tidegate/metadata/etcd"
)

// Metadata says where the metadata lives.
type Metadata struct {
	// Endpoints are those of an etcd cluster; none means the embedded etcd.
	Endpoints []string `yaml:"etcd_endpoints"`
	// Cluster names the Tidegate cluster within etcd.
	Cluster string `yaml:"cluster"`
	// Username and Password log in to an etcd cluster that asks for it.
	Username string          `yaml:"etcd_username"`
	Password metadata.Secret `yaml:"etcd_password"`
	// CA is the PEM file of the authorities of https endpoints; empty means
	// those of the system.
	CA string `yaml:"etcd_ca"`
	// Cert and Key are the PEM files of the client certificate for etcd.
	Cert string `yaml:"etcd_cert"`
	Key  string `yaml:"etcd_key"`
	// Recreate lets a start make the first namespace and user again when etcd is
	// empty though the data directory holds messages. Without it such a start is
	// refused, since it means that the metadata was lost.
	Recreate bool `yaml:"recreate"`
}

func (m Metadata) validate() error {
	switch {
	case m.Cluster == "":
		return errors.New("cluster must not be empty")
	case (m.Cert == "") != (m.Key == ""):
		return errors.New("etcd_cert and etcd_key need each other")
	case (m.Username == "") != (m.Password == ""):
		return errors.New("etcd_username and etcd_password need each other")
	}
	return nil
}

// tls returns the TLS settings for the endpoints, nil for the system's roots.
func (m Metadata) tls() (*tls.Config, error) {
	if m.CA == "" && m.Cert == "" {
		return nil, nil //nolint:nilnil // nil means the defaults
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if m.CA != "" {
		pem, err := os.ReadFile(m.CA)
		if err != nil {
			return nil, fmt.Errorf("read etcd authorities: %w", err)
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("read etcd authorities: no certificate in %s", m.CA)
		}
	}
	if m.Cert != "" {
		cert, err := tls.LoadX509KeyPair(m.Cert, m.Key)
		if err != nil {
			return nil, fmt.Errorf("read etcd client certificate: %w", err)
		}
		cfg.Certificates = []tls.Certificate{cert}
	}
	return cfg, nil
}

// openStore opens the metadata store, starting the embedded etcd if no other
// one is configured.
func openStore(ctx context.Context, cfg Config, log *slog.Logger, closers *closers) (metadata.Store, error) {
	client := etcd.DefaultConfig()
	client.Endpoints = cfg.Metadata.Endpoints
	client.Username, client.Password = cfg.Metadata.Username, cfg.Metadata.Password
	var err error
	if client.TLS, err = cfg.Metadata.tls(); err != nil {
		return nil, err
	}
	if len(client.Endpoints) == 0 {
		embedded := etcd.DefaultEmbeddedConfig()
		embedded.Dir = filepath.Join(cfg.Data, "etcd")
		server, err := etcd.StartEmbedded(ctx, embedded, log)
		if err != nil {
			return nil, err
		}
		closers.add("stop etcd", server.Close)
		client.Endpoints = []string{server.Endpoint()}
	}
	store, err := etcd.Open(client, log)
	if err != nil {
		return nil, fmt.Errorf("open metadata: %w", err)
	}
	closers.add("close metadata", store.Close)
	return store, nil
}

// openCatalog opens the catalog with its copy in the data directory, from which
// a start without etcd serves.
func openCatalog(ctx context.Context, cfg Config, store metadata.Store, log *slog.Logger) (*metadata.Catalog, error) {
	catalog := metadata.DefaultCatalogConfig()
	catalog.Cluster = cfg.Metadata.Cluster
	catalog.FS, catalog.Path = vfs.Default, copyPath(cfg)
	return metadata.OpenCatalog(ctx, store, catalog, log)
}

func copyPath(cfg Config) string { return filepath.Join(cfg.Data, "catalog", "copy.json") }

// setCopyAside keeps the copy of metadata that are lost beside the one of those that
// take their place.
func setCopyAside(cfg Config) error {
	path := copyPath(cfg)
	err := os.Rename(path, fmt.Sprintf("%s.%d", path, time.Now().Unix()))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("keep the copy of the lost metadata: %w", err)
	}
	return nil
}

// rootNamespace is the namespace that always exists.
const rootNamespace = "/"

// guestUser is the user of a broker for which none was configured. The
// authenticator lets it in from the same machine only.
const guestUser = "guest"

// errMetadataLost refuses to begin anew over messages of an earlier time.
var errMetadataLost = errors.New("etcd holds no namespace, but the data directory holds messages: " +
	"restore etcd, or set metadata.recreate to begin with new metadata (the messages are kept, and not served)")

// bootstrap makes the first namespace and the first user, an administrator, if
// there is no namespace yet.
func bootstrap(ctx context.Context, cfg Config, catalog *metadata.Catalog, log *slog.Logger) error {
	if len(catalog.Namespaces()) > 0 {
		return nil
	}
	if _, err := core.ReadLayout(vfs.Default, filepath.Join(cfg.Data, "log")); !errors.Is(err, os.ErrNotExist) {
		if !cfg.Metadata.Recreate {
			return errMetadataLost
		}
		if err := setCopyAside(cfg); err != nil {
			return err
		}
	}
	name, password := cfg.DefaultUser, string(cfg.DefaultPass)
	if name == "" {
		name, password = guestUser, guestUser
	}
	user := metadata.User{Name: name, Hash: gateway.HashPassword(password), Tags: []string{"administrator"}}
	all := metadata.Permission{Configure: ".*", Write: ".*", Read: ".*"}
	if _, err := catalog.Bootstrap(ctx, metadata.Namespace{Name: rootNamespace}, user, all); err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	log.Info("made the first user", slog.String("user", name), slog.String("namespace", rootNamespace))
	return nil
}
