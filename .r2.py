p='CHANGELOG.md'; s=open(p).read()
t='''- `cnm install docker` and `cnm uninstall docker`: the service and the plugin's file on a host with systemd. The daemon tells a service manager
  when it is ready.
'''
s=s.replace(t,'')
k='see [docs/compat/docker.md](docs/compat/docker.md).\n'
assert k in s
s=s.replace(k,k+t,1)
open(p,'w').write(s)
p='internal/cli/root.go'; s=open(p).read()
s=s.replace('''	if a.io.Daemon != nil {
		all''','''	if a.io.Install != nil {
		all = append(all, word{"install", a.installCommand}, word{"uninstall", a.uninstallCommand})
	}
	if a.io.Daemon != nil {
		all''')
open(p,'w').write(s)
p='cmd/cnm/main.go'; s=open(p).read()
i=s.find('\n// installer writes')
if i>0: s=s[:i]
s=s.replace('	"github.com/libnetwork/cnm/internal/install"\n','')
s=s.replace('cio.Daemon, cio.Hangups = serve, cli.Hangups','cio.Daemon, cio.Hangups, cio.Install = serve, cli.Hangups, installer()')
open(p,'w').write(s)
open('cmd/cnm/host.go','w').write('''// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"

	"github.com/libnetwork/cnm/internal/cli"
	"github.com/libnetwork/cnm/internal/install"
)

'''+open('.inst').read())
