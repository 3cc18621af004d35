package main

import (
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"

	"github.com/rogpeppe/go-internal/testscript"
)

// webToken is what /private/ of startWeb requires.
const webToken = "Bearer t0ken"

// startWeb: web serves the files of the script's folder over TLS, at $WEB and $OTHER. /private/
// needs the header Authorization, and /moved/ at $WEB redirects to $OTHER. The file requests has a
// line for each request: the server, the path and that header. The daemon and transferctl trust
// both servers.
func startWeb(ts *testscript.TestScript, _ bool, _ []string) {
	log, err := os.Create(ts.MkAbs("requests"))
	ts.Check(err)
	ts.Defer(func() { _ = log.Close() })
	var mu sync.Mutex
	files := http.FileServer(http.Dir(ts.MkAbs(".")))
	serve := func(name, moved string) *httptest.Server {
		mux := http.NewServeMux()
		mux.Handle("/", files)
		below := func(folder string, h http.HandlerFunc) { mux.Handle(folder+"/", http.StripPrefix(folder, h)) }
		below("/private", func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") != webToken {
				http.Error(w, "who are you?", http.StatusUnauthorized)
				return
			}
			files.ServeHTTP(w, r)
		})
		below("/moved", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, moved+r.URL.Path, http.StatusFound)
		})
		s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			fmt.Fprintf(log, "%s %s %s\n", name, r.URL.Path, r.Header.Get("Authorization"))
			mu.Unlock()
			mux.ServeHTTP(w, r)
		}))
		ts.Defer(s.Close)
		ts.Setenv(name, s.URL)
		return s
	}
	other := serve("OTHER", "")
	serve("WEB", other.URL)
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: other.Certificate().Raw})
	ts.Check(os.WriteFile(ts.MkAbs("ca.pem"), certificate, 0o600))
	ts.Setenv("SSL_CERT_FILE", ts.MkAbs("ca.pem"))
}
