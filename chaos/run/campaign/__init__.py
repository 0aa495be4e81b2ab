"""Runs that belong together: repeats, an experiment and its negative controls, two versions, a suite."""

from chaos.run.campaign.arms import Arm, PlannedRun, arms_of, plan_runs
from chaos.run.campaign.conducting import CampaignPlan, CampaignResult, run_campaign

__all__ = ["Arm", "CampaignPlan", "CampaignResult", "PlannedRun", "arms_of", "plan_runs", "run_campaign"]
