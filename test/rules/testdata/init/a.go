package a

import "errors"

func init() {} // found

type t struct{}

func (t) init() {}

var _ error = (*t)(nil)

var counter int // found

var (
	ErrGone    = errors.New("gone")
	errHere    = fmt.Errorf("here")
	ErrLater   error                       // found
	ErrStolen  = other.ErrStolen           // found
	table      = map[string]int{}          // found
	pool, lock = sync.Pool{}, 1            // found
	update     = flag.Bool("u", false, "") // found
)

//go:embed index.html
var page []byte

var (
	//go:embed other.html
	other []byte
)
