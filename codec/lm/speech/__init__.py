"""Speech from text: phones, how long they last, and where they lie along the frames."""
