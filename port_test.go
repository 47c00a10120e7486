// SPDX-License-Identifier: Apache-2.0

package cnm_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	cnm "github.com/libnetwork/cnm"
)

func TestParsePortSpecs(t *testing.T) {
	t.Parallel()
	tests := map[string][]string{
		"80":                      {"80/tcp"},
		"0:80":                    {"80/tcp"},
		"80/udp":                  {"80/udp"},
		"9/sctp":                  {"9/sctp"},
		"8080:80":                 {"8080:80/tcp"},
		":8080:80":                {"8080:80/tcp"},
		"8080-8082:80-82":         {"8080:80/tcp", "8081:81/tcp", "8082:82/tcp"},
		"8080-8089:80":            {"8080-8089:80/tcp"},
		"80-82":                   {"80/tcp", "81/tcp", "82/tcp"},
		"127.0.0.1:80":            {"127.0.0.1:80/tcp"},
		"127.0.0.1::80":           {"127.0.0.1:80/tcp"},
		"127.0.0.1:8080:80/udp":   {"127.0.0.1:8080:80/udp"},
		"[::1]:8080:80":           {"[::1]:8080:80/tcp"},
		"[::]:80":                 {"[::]:80/tcp"},
		"[::1]::80":               {"[::1]:80/tcp"},
		"[2001:db8::1]:1-2:80-81": {"[2001:db8::1]:1:80/tcp", "[2001:db8::1]:2:81/tcp"},
		"65535:65535":             {"65535:65535/tcp"},
	}
	for text, want := range tests {
		t.Run(text, func(t *testing.T) {
			t.Parallel()
			specs, err := cnm.ParsePortSpecs(text)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, s := range specs {
				got = append(got, s.String())
				again, err := cnm.ParsePortSpecs(s.String())
				if err != nil || len(again) != 1 || again[0] != s {
					t.Errorf("%s reads back as %v, %v", s, again, err)
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("got %v, want %v", got, want)
			}
		})
	}
}

func TestParsePortSpecsRefuses(t *testing.T) {
	t.Parallel()
	tests := map[string]string{
		"":                    "port",
		"0":                   "port",
		"http":                "port",
		"65536":               "port",
		"-1":                  "port",
		"80-":                 "port",
		"82-80":               "ends before it begins",
		"+80":                 "port",
		"80/icmp":             "protocol",
		"80/":                 "protocol",
		"80/TCP":              "protocol",
		"a:80":                "host port",
		"70000:80":            "host port",
		"0-5:80":              "host port",
		"1-2:80-82":           "one length",
		"1.2.3:80:80":         "host address",
		"1.2.3.4.5::80":       "host address",
		"::1:8080:80":         "brackets",
		"[::1:8080:80":        "\"]:\"",
		"[1.2.3.4]:80:80":     "brackets",
		"[fe80::1%eth0]:1:80": "host address",
		"[::ffff:1.2.3.4]:80": "host address",
		"1:2:3:4":             "colons",
		"80 ":                 "port",
		"８０":                  "port",
	}
	for text, want := range tests {
		t.Run(text, func(t *testing.T) {
			t.Parallel()
			specs, err := cnm.ParsePortSpecs(text)
			if !errors.Is(err, cnm.Invalid) {
				t.Fatalf("got %v and error %v, want an invalid one", specs, err)
			}
			if !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "PORT") {
				t.Errorf("error %q does not say %q and the way out", err, want)
			}
		})
	}
}

func FuzzParsePortSpecs(f *testing.F) {
	for _, s := range []string{"80", "127.0.0.1:1-2:3-4/udp", "[::1]:80:80", ":::", "[", "1-65535"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		specs, err := cnm.ParsePortSpecs(text)
		if err != nil {
			return
		}
		for _, s := range specs {
			again, err := cnm.ParsePortSpecs(s.String())
			if err != nil || len(again) != 1 || again[0] != s {
				t.Fatalf("%q gives %s, which reads back as %v, %v", text, s, again, err)
			}
		}
	})
}
