package bridge

func planEndpoint() {}
