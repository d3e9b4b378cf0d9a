"""The client synchronizer: a pure planner and the executor that carries its plans out."""
