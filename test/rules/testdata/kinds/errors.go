package cnm

type Kind uint8

const (
	Internal Kind = iota
	NotFound
	Busy
)

const other = 1

func Kinds() []KindCode { // found
	return []KindCode{
		{Internal, "internal", 500, 1},
		{Busy, "busy", 409, 4},
	}
}
