package gateway

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"time"
)

// CertificateEnds returns when the first of the certificates that the TLS listeners show
// ends; the zero time without one.
func (s *Server) CertificateEnds() (ends time.Time) {
	if s.tls == nil {
		return ends
	}
	for i := range s.tls.Certificates {
		for _, raw := range s.tls.Certificates[i].Certificate {
			c, err := x509.ParseCertificate(raw)
			if err == nil && (ends.IsZero() || c.NotAfter.Before(ends)) {
				ends = c.NotAfter
			}
		}
	}
	return ends
}

// loadTLS reads the files and returns the configuration of the TLS listeners.
func loadTLS(files TLS) (*tls.Config, error) {
	cert, err := tls.LoadX509KeyPair(files.Cert, files.Key)
	if err != nil {
		return nil, fmt.Errorf("read certificate: %w", err)
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{cert}}
	if files.ClientCA == "" {
		return cfg, nil
	}
	pem, err := os.ReadFile(files.ClientCA)
	if err != nil {
		return nil, fmt.Errorf("read client authorities: %w", err)
	}
	cfg.ClientCAs = x509.NewCertPool()
	if !cfg.ClientCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("read client authorities: no certificate in %s", files.ClientCA)
	}
	cfg.ClientAuth = tls.VerifyClientCertIfGiven
	return cfg, nil
}
