package gateway

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Where a client certificate says who the client is.
const (
	// FromCommonName is the subject's common name; several are joined by commas.
	FromCommonName = "common_name"
	// FromDistinguishedName is the whole subject, as RFC 4514 writes it.
	FromDistinguishedName = "distinguished_name"
	// FromAlternativeName is one of the subject's alternative names.
	FromAlternativeName = "subject_alternative_name"
)

// alternativeNames are the kinds of alternative names that can be configured.
var alternativeNames = map[string]func(*x509.Certificate) []string{
	"dns":   func(c *x509.Certificate) []string { return c.DNSNames },
	"email": func(c *x509.Certificate) []string { return c.EmailAddresses },
	"ip": func(c *x509.Certificate) (list []string) {
		for _, ip := range c.IPAddresses {
			list = append(list, ip.String())
		}
		return list
	},
	"uri": func(c *x509.Certificate) (list []string) {
		for _, uri := range c.URIs {
			list = append(list, uri.String())
		}
		return list
	},
}

// validate tells what is wrong with how names are taken from certificates.
func (t TLS) validate() error {
	switch {
	case (t.Cert == "") != (t.Key == ""):
		return errors.New("tls needs both cert and key")
	case t.ClientCA != "" && !t.Enabled():
		return errors.New("tls.client_ca needs tls.cert")
	case !slices.Contains([]string{FromCommonName, FromDistinguishedName, FromAlternativeName}, t.CertLoginFrom):
		return fmt.Errorf("tls.cert_login_from %q is not known", t.CertLoginFrom)
	case alternativeNames[t.CertLoginSANType] == nil:
		return fmt.Errorf("tls.cert_login_san_type %q is not known", t.CertLoginSANType)
	case t.CertLoginSANIndex < 0:
		return errors.New("tls.cert_login_san_index is below 0")
	}
	return nil
}

// certified tells whether the client showed a certificate that an authority has
// signed, and the name that it stands for; "" when it has none of that kind.
func (t TLS) certified(state *tls.ConnectionState) (name string, ok bool) {
	if len(state.VerifiedChains) == 0 || len(state.PeerCertificates) == 0 {
		return "", false
	}
	return t.nameOf(state.PeerCertificates[0]), true
}

// nameOf returns who the certificate says that the client is.
func (t TLS) nameOf(leaf *x509.Certificate) string {
	switch t.CertLoginFrom {
	case FromDistinguishedName:
		return leaf.Subject.String()
	case FromAlternativeName:
		if names := alternativeNames[t.CertLoginSANType](leaf); t.CertLoginSANIndex < len(names) {
			return names[t.CertLoginSANIndex]
		}
		return ""
	}
	return commonName(leaf)
}

// oidCommonName is the identifier of common names in subjects.
var oidCommonName = asn1.ObjectIdentifier{2, 5, 4, 3}

// commonName joins the common names of a subject, so that one of several can't
// be chosen by whoever asked for the certificate.
func commonName(leaf *x509.Certificate) string {
	var names []string
	for _, attribute := range leaf.Subject.Names {
		if name, ok := attribute.Value.(string); ok && attribute.Type.Equal(oidCommonName) {
			names = append(names, name)
		}
	}
	return strings.Join(names, ",")
}
