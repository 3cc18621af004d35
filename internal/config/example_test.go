package config_test

import (
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/transferd/transferd/internal/config"
)

// Paths in a config are relative to its folder.
func ExampleLoad() {
	dir, err := os.MkdirTemp("", "config")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "config.yaml")
	text := `
state: state
roots: [/var/lib/images]
endpoints:
  zrh:
    url: https://api.zrh.cloudsigma.com
    user: ops@example.com
    password_env: ZRH_PASSWORD
`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		log.Panic(err)
	}
	c, err := config.Load(path)
	if err != nil {
		log.Panic(err)
	}
	for _, name := range c.EndpointNames() {
		fmt.Println(name, c.Endpoints[name].URL)
	}
	fmt.Println(c.Roots)
	// Output:
	// zrh https://api.zrh.cloudsigma.com
	// [/var/lib/images]
}

// A mistyped key is an error that names the line and the key.
func ExampleLoad_unknownKey() {
	dir, err := os.MkdirTemp("", "config")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "config.yaml")
	if err := os.WriteFile(path, []byte("listem: 127.0.0.1:7410\n"), 0o600); err != nil {
		log.Panic(err)
	}
	_, err = config.Load(path)
	fmt.Println(filepath.Base(err.Error()))
	// Output: config.yaml: line 1: unknown key "listem"
}
