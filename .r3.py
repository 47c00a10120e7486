exec(open('.res.py').read())
pick('CHANGELOG.md', ours)
pick('api/client/client.go', lambda a,b: '')
pick('internal/cli/root.go', ours)
pick('test/script/README.md', both)
pick('test/script/script_test.go', both)
pick('cmd/cnm/main.go', ours)
pick('internal/cli/reference_test.go', lambda a,b: a.replace('		Install: &Installer{},\n','		Install: &Installer{}, Doctor: func(context.Context, Places) []Finding { return nil },\n'))
p='CHANGELOG.md'; s=open(p).read()
s=s.replace('''  when it is ready.
''','''  when it is ready.
- `cnm doctor`: whether a host is fit, what is left over, whether Docker finds us, and who else drops packets, with what to do.
''',1)
open(p,'w').write(s)
p='api/client/client.go'; s=open(p).read()
old='''	if resp.StatusCode >= http.StatusMultipleChoices {
		defer resp.Body.Close()
		return nil, restore(resp)
	}
'''
new='''	if resp.StatusCode >= http.StatusMultipleChoices {
		defer resp.Body.Close()
		data, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
		if err != nil {
			return nil, cnm.Errorf(cnm.Unavailable, "the daemon's answer broke off: %w", err)
		}
		return nil, restore(resp.Status, data)
	}
'''
s=s.replace(old,new)
open(p,'w').write(s)
p='api/client/verbs.go'; s=open(p).read()
a=s.index('	if resp.StatusCode != http.StatusOK && resp.Header'); b=s.index('	var parts []Part')
s=s[:a]+'''	data, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return nil, c.explain(ctx, err)
	}
	if resp.Header.Get("Content-Type") == "application/json" {
		return nil, restore(resp.Status, data)
	}
'''+s[b:]
open(p,'w').write(s)
p='internal/cli/root.go'; s=open(p).read()
s=s.replace('''	if a.io.Daemon != nil {
		all''','''	if a.io.Doctor != nil {
		all = append(all, word{"doctor", a.doctorCommand})
	}
	if a.io.Daemon != nil {
		all''')
open(p,'w').write(s)
p='cmd/cnm/main.go'; s=open(p).read()
s=s.replace('cio.Daemon, cio.Hangups, cio.Install = serve, cli.Hangups, installer()','cio.Daemon, cio.Hangups, cio.Install, cio.Doctor = serve, cli.Hangups, installer(), examine')
open(p,'w').write(s)
p='cmd/cnm/host.go'; s=open(p).read()
s=s.replace('''import (
	"fmt"''','''import (
	"context"
	"fmt"''').replace('''internal/cli"
''','''internal/cli"
	"github.com/libnetwork/cnm/internal/doctor"
''')
s+='''
// examine looks at this host.
func examine(ctx context.Context, where cli.Places) []cli.Finding {
	var found []cli.Finding
	for _, c := range doctor.Examine(ctx, doctor.Config(where)) {
		found = append(found, cli.Finding{Name: c.Name, Status: string(c.Status), Text: c.Text, Fix: c.Fix})
	}
	return found
}
'''
open(p,'w').write(s)
