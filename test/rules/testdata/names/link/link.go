package link

type LinkInfo struct{} // found

type (
	addressManager struct{} // found
	Info           struct{}
	Information    struct{}
)

func GetLink() {} // found

func (Info) GetName() {} // found

func Gettysburg() {}
