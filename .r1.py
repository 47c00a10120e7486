exec(open('.res.py').read())
pick('CHANGELOG.md', lambda a,b: a+'''- `cnm install docker` and `cnm uninstall docker`: the service and the plugin's file on a host with systemd. The daemon tells a service manager
  when it is ready.
''')
pick('internal/cli/cli.go', both)
pick('test/script/README.md', both)
pick('internal/cli/root.go', ours)
pick('internal/cli/reference_test.go', lambda a,b: a.replace('	}}\n','		Install: &Installer{},\n	}}\n'))
pick('cmd/cnm/main.go', ours)
