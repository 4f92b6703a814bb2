"""python -m entropy_rl fit"""

from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from entropy_rl.observability.json_files import write_json
from entropy_rl.observability.run_record import RunRecord
from entropy_rl.observatory.law import Course, Law, Prediction
from entropy_rl.observatory.law_pictures import draw_law, draw_prediction
from entropy_rl.observatory.law_report import law_lines, law_summary, prediction_lines, prediction_summary


@dataclass(frozen=True, kw_only=True)
class Fit:
    """Fit the law R = -a exp(H) + b to a run, finished or not, and tell where it leads: the ceiling b - a.

    R is held-out accuracy where the run has enough of it, else the training reward. Writes law.json, law.png
    and residuals.png. With --first, the first steps predict the later ones, in prediction.png too, with the
    training reward for R where these steps have too little held-out accuracy. Example:
    python -m entropy_rl fit runs/tiny_grpo --first 36
    """

    run_folder: Positional[Path]
    """Folder of the run."""
    first: int | None = None
    """Predict the steps after this one from those up to it, and tell the error."""
    measure: str | None = None
    """Metric to take as R, such as reward/mean."""
    output: Path | None = None
    """Folder of what is written; law/ in the run's folder unless given."""

    def run(self) -> None:
        run = RunRecord.load(self.run_folder)
        course = Course.of(run, measure=self.measure)
        law = Law.of(course)
        prediction = None
        if self.first is not None:
            early = Course.of(run, measure=self.measure, first=self.first)
            prediction = Prediction.of(early, self.first)
        output = run.path / "law" if self.output is None else self.output
        output.mkdir(parents=True, exist_ok=True)
        print(f"{run.name}: " + "\n".join(law_lines(law)))
        pictures = draw_law(law, run.name, output)
        if prediction is not None:
            print(f"first {self.first} steps: " + "\n".join(prediction_lines(prediction)))
            pictures.append(draw_prediction(prediction, run.name, output))
        summary = {"run": str(run.path), "law": law_summary(law)}
        summary["prediction"] = None if prediction is None else prediction_summary(prediction)
        write_json(output / "law.json", summary)
        print(f"written to {output}: law.json, {', '.join(picture.name for picture in pictures)}")
