// SPDX-License-Identifier: Apache-2.0

package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	cnm "github.com/libnetwork/cnm"
)

// NewBrief is [New] for a program that makes one call and ends. Each call has a connection of its own and speaks HTTP/1.0 on it, whose
// answers end with the connection: so little of a program has to be in memory for that, that it takes half the time.
func NewBrief(socket string, timeout time.Duration) *Client {
	c := New(socket, timeout)
	c.brief = true
	return c
}

// exchange is one request and its answer on a connection of their own.
func (c *Client) exchange(ctx context.Context, method string, to target, in any, timeout string) (status int, answer []byte, err error) {
	request, err := briefly(method, to, in, timeout)
	if err != nil {
		return 0, nil, err
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", c.socket)
	if err != nil {
		return 0, nil, c.explain(ctx, err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	_, wrote := conn.Write(request) // one that is refused before it is read whole has an answer all the same
	text, err := io.ReadAll(conn)
	if err == nil && len(text) == 0 {
		err = errors.Join(wrote, io.ErrUnexpectedEOF)
	}
	if err != nil {
		return 0, nil, c.explain(ctx, err)
	}
	return split(text)
}

// briefly is a request as it is sent.
func briefly(method string, to target, in any, timeout string) ([]byte, error) {
	where := to.path
	if len(to.query) > 0 {
		where += "?" + to.query.Encode()
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.0\r\nHost: cnm\r\n", method, where)
	if timeout != "" {
		fmt.Fprintf(&b, "X-Cnm-Timeout: %s\r\n", timeout)
	}
	if in == nil {
		b.WriteString("\r\n")
		return b.Bytes(), nil
	}
	body, err := json.Marshal(in)
	if err != nil {
		return nil, fmt.Errorf("write the request: %w", err)
	}
	fmt.Fprintf(&b, "Content-Type: application/json\r\nContent-Length: %d\r\n\r\n", len(body))
	b.Write(body)
	return b.Bytes(), nil
}

// split takes an answer apart: its status and its body, which must be as long as it says.
func split(text []byte) (status int, body []byte, err error) {
	head, body, ok := bytes.Cut(text, []byte("\r\n\r\n"))
	line, _, _ := bytes.Cut(head, []byte("\r\n"))
	version, rest, _ := bytes.Cut(line, []byte(" "))
	code, _, _ := bytes.Cut(rest, []byte(" "))
	status, failed := strconv.Atoi(string(code))
	if !ok || !bytes.HasPrefix(version, []byte("HTTP/1.")) || failed != nil {
		return 0, nil, cnm.Errorf(cnm.Unavailable, "whoever answers is no daemon of ours: %.40q", line)
	}
	for line := range bytes.SplitSeq(head, []byte("\r\n")) {
		key, value, _ := bytes.Cut(line, []byte(":"))
		length, err := strconv.Atoi(string(bytes.TrimSpace(value)))
		if bytes.EqualFold(key, []byte("Content-Length")) && (err != nil || length != len(body)) {
			return 0, nil, cnm.Errorf(cnm.Unavailable, "the daemon's answer broke off")
		}
	}
	return status, body, nil
}

// callBriefly is call by [Client.exchange].
func (c *Client) callBriefly(ctx context.Context, method string, to target, in, out any) error {
	ctx, cancel, timeout := c.bound(ctx)
	defer cancel()
	status, answer, err := c.exchange(ctx, method, to, in, timeout)
	switch {
	case err != nil:
		return err
	case status >= http.StatusMultipleChoices:
		return restore(strconv.Itoa(status), answer)
	case out == nil:
		return nil
	default:
		return decode(method, to, answer, out)
	}
}
